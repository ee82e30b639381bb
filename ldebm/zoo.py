"""The rows of the table: each is a short builder that composes a posterior, a prior and regularisers around one sentence model.

A builder's keyword-only arguments are the keys of its block in params.yaml, checked against their annotations (see `ldebm.config`).
To add a row, write a builder, decorate it with `row`, and give it a block.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field, PositiveFloat, PositiveInt

from ldebm import parts

NonNegative = Annotated[float, Field(ge=0)]
Builder = Callable[..., Any]


@dataclass(frozen=True)
class SentenceSize:
    """Sizes of the networks every row shares; `bfloat16` runs encoder and decoder under autocast."""

    vocabulary: int
    embedding: int
    hidden: int
    dropout: float
    bfloat16: bool = False


@dataclass(frozen=True)
class Row:
    """A row of the table: its name there, what it is composed of, where it was published, its builder and its optimiser groups."""

    name: str
    posterior: str
    prior: str
    regularisers: str
    source: str
    build: Builder
    groups: tuple[str, ...]


MODELS: dict[str, Row] = {}


def row(
    name: str, *, posterior: str, prior: str, regularisers: str, source: str, groups: tuple[str, ...] = ("sentence",)
) -> Callable[[Builder], Builder]:
    """Register a builder as the row `name` of the table; `groups` are the parameter groups its optimiser settings name."""

    def register(build: Builder) -> Builder:
        MODELS[name] = Row(name, posterior, prior, regularisers, source, build, groups)
        return build

    return register


@row("RNN-LM", posterior="-", prior="-", regularisers="-", source="Mikolov et al. 2010")
def rnn_lm(size: SentenceSize) -> Any:
    """R: the decoder alone, without a latent vector; samples are drawn word by word."""
    model = parts.SentenceModel(
        None,
        parts.decoder(size, 0, tied=False),
        posterior=parts.NoPosterior(),
        prior=parts.NoPrior(),
        likelihoods={"nll": parts.exact},
        greedy=False,
    )
    parts.uniform_(model)
    return model


@row("AE", posterior="point", prior="-", regularisers="-", source="Shi et al. 2020")
def ae(size: SentenceSize, *, latent_dim: PositiveInt) -> Any:
    """R; sampled as if the code were N(0, I)."""
    return parts.SentenceModel(
        *parts.one_embedding(size, latent_dim, tied=False),
        posterior=parts.PointPosterior(2 * size.hidden, latent_dim),
        prior=parts.SamplingOnly(parts.StandardNormal(latent_dim)),
    )


@row("VAE", posterior="Gaussian", prior="N(0, I)", regularisers="KL", source="Bowman et al. 2016")
def vae(
    size: SentenceSize,
    *,
    latent_dim: PositiveInt,
    posterior_samples: PositiveInt,
    kl_slope: PositiveFloat,
    kl_midpoint: float,
) -> Any:
    """R + w KL(q(z|x) ‖ N(0, I))."""
    return parts.SentenceModel(
        *parts.one_embedding(size, latent_dim, tied=False),
        posterior=parts.GaussianPosterior(2 * size.hidden, latent_dim),
        prior=parts.StandardNormal(latent_dim),
        regularisers=[parts.Regulariser("kl", parts.divergence, parts.logistic(kl_slope, kl_midpoint))],
        posterior_samples=posterior_samples,
        likelihoods={"nll": parts.importance_sampled},
    )


@row("DAE", posterior="categorical", prior="-", regularisers="-", source="Zhao et al. 2018")
def dae(size: SentenceSize, *, variables: PositiveInt, values: PositiveInt) -> Any:
    """R with a discrete code; sampled as if the code were uniform."""
    return parts.SentenceModel(
        *parts.one_embedding(size, variables * values, tied=True),
        posterior=parts.CategoricalPosterior(2 * size.hidden, variables, values),
        prior=parts.SamplingOnly(parts.UniformCode(variables, values)),
    )


@row("DVAE", posterior="categorical", prior="uniform", regularisers="KL", source="Zhao et al. 2018")
def dvae(
    size: SentenceSize, *, variables: PositiveInt, values: PositiveInt, kl_slope: PositiveFloat, kl_midpoint: float
) -> Any:
    """R + w Σ KL(q(c|x) ‖ uniform)."""
    return parts.SentenceModel(
        *parts.one_embedding(size, variables * values, tied=True),
        posterior=parts.CategoricalPosterior(2 * size.hidden, variables, values),
        prior=parts.UniformCode(variables, values),
        regularisers=[parts.Regulariser("kl", parts.divergence, parts.logistic(kl_slope, kl_midpoint))],
        likelihoods={"nll": parts.importance_sampled},
    )


@row("DI-VAE", posterior="categorical", prior="uniform", regularisers="aggregate KL", source="Zhao et al. 2018")
def di_vae(size: SentenceSize, *, variables: PositiveInt, values: PositiveInt) -> Any:
    """R + Σ KL(q̄(c) ‖ uniform), of weight 1 from the start."""
    return parts.SentenceModel(
        *parts.one_embedding(size, variables * values, tied=True),
        posterior=parts.CategoricalPosterior(2 * size.hidden, variables, values),
        prior=parts.UniformCode(variables, values),
        regularisers=[parts.Regulariser("aggregate_kl", parts.aggregate_kl, parts.constant(1.0))],
        likelihoods={"nll": parts.importance_sampled},
    )


SEMI: dict[str, Any] = {
    "posterior": "categorical × Gaussian",
    "prior": "uniform × N(0, I)",
    "source": "Shi et al. 2020",
}


@row("SEMI-VAE", regularisers="KL, aggregate KL, information", **SEMI)
@row("SEMI-VAE + I", regularisers="KL, aggregate KL", **SEMI)
def semi_vae(
    size: SentenceSize,
    *,
    latent_dim: PositiveInt,
    variables: PositiveInt,
    values: PositiveInt,
    information_weight: NonNegative,
    posterior_samples: PositiveInt,
    kl_slope: PositiveFloat,
    kl_midpoint: float,
) -> Any:
    """R + w [Σ KL(q̄(c) ‖ uniform) + λ I + KL(q(z|x) ‖ N(0, I))]; λ = 0 frees the information. The decoder's steps see z, its initial state [c ; z]."""
    weight = parts.logistic(kl_slope, kl_midpoint)
    return parts.SentenceModel(
        *parts.one_embedding(size, variables * values + latent_dim, tied=True, step_dim=latent_dim),
        posterior=parts.JointPosterior(
            parts.CategoricalPosterior(2 * size.hidden, variables, values),
            parts.GaussianPosterior(2 * size.hidden, latent_dim),
        ),
        prior=parts.JointPrior(parts.UniformCode(variables, values), parts.StandardNormal(latent_dim)),
        regularisers=[
            parts.Regulariser("aggregate_kl", parts.aggregate_kl, weight),
            parts.Regulariser("information", parts.information, parts.scaled(weight, information_weight)),
            parts.Regulariser("kl", parts.gaussian_kl, weight),
        ],
        posterior_samples=posterior_samples,
        likelihoods={"nll": parts.importance_sampled},
    )


MIXTURE: dict[str, Any] = {"posterior": "mixture", "prior": "learned Gaussian mixture", "source": "Shi et al. 2020"}


@row("GM-VAE", regularisers="averaged KL, dispersion, aggregate KL, information", **MIXTURE)
@row("GM-VAE + I", regularisers="averaged KL, dispersion, aggregate KL", **MIXTURE)
@row("DGM-VAE", regularisers="averaged KL, β dispersion, aggregate KL, information", **MIXTURE)
@row("DGM-VAE + I", regularisers="averaged KL, β dispersion, aggregate KL", **MIXTURE)
def gm_vae(
    size: SentenceSize,
    *,
    groups: PositiveInt,
    components: PositiveInt,
    group_dim: PositiveInt,
    beta: NonNegative,
    information_weight: NonNegative,
    posterior_samples: PositiveInt,
    kl_slope: PositiveFloat,
    kl_midpoint: float,
) -> Any:
    """R + w [Σ KL(q̄(c) ‖ uniform) + λ I + Z + β D]; λ = 0 frees the information."""
    weight = parts.logistic(kl_slope, kl_midpoint)
    return parts.SentenceModel(
        *parts.two_embeddings(size, groups * group_dim),
        posterior=parts.MixturePosterior(2 * size.hidden, groups, components, group_dim),
        prior=parts.GaussianMixturePrior(groups, components, group_dim),
        regularisers=[
            parts.Regulariser("aggregate_kl", parts.aggregate_kl, weight),
            parts.Regulariser("information", parts.information, parts.scaled(weight, information_weight)),
            parts.Regulariser("averaged_kl", parts.averaged_kl, weight),
            parts.Regulariser("dispersion", parts.dispersion, parts.scaled(weight, beta)),
        ],
        posterior_samples=posterior_samples,
        likelihoods={"nll": parts.importance_sampled},
    )


SYMBOL_VECTOR: dict[str, Any] = {
    "posterior": "Gaussian",
    "prior": "symbol-vector energy",
    "source": "Pang & Wu 2021",
    "groups": ("sentence", "energy"),
}


@row("SVEBM", regularisers="free bits, contrast", **SYMBOL_VECTOR)
@row("SVEBM-IB", regularisers="free bits, contrast, information", **SYMBOL_VECTOR)
def svebm(
    size: SentenceSize,
    *,
    latent_dim: PositiveInt,
    symbols: PositiveInt,
    energy_hidden: PositiveInt,
    langevin_steps: PositiveInt,
    langevin_step_size: PositiveFloat,
    free_bits: NonNegative,
    information_weight: NonNegative,
    kl_cycles: PositiveInt,
    kl_maximum: PositiveFloat,
) -> Any:
    """R + w [free-bits KL - F(z⁺) + F(z⁻)] - λ MI; R alone while w = 0."""
    weight = parts.cyclic(kl_cycles, kl_maximum)
    network = parts.SymbolVectorNet(latent_dim, energy_hidden, symbols)
    model = parts.SentenceModel(
        *parts.two_embeddings(size, latent_dim),
        posterior=parts.GaussianPosterior(2 * size.hidden, latent_dim),
        prior=parts.SymbolVectorPrior(network, langevin_steps, langevin_step_size),
        regularisers=[
            parts.Regulariser("free_bits_kl", parts.free_bits_kl(free_bits), weight),
            parts.Regulariser("contrast", parts.contrast, weight),
            parts.Regulariser(
                "symbol_information", parts.symbol_information, parts.while_positive(weight, -information_weight)
            ),
        ],
        likelihoods={"nll_published": parts.symbol_vector_published},
    )
    parts.uniform_(model)
    return model


DIFFUSION: dict[str, Any] = {
    "posterior": "Gaussian",
    "prior": "latent diffusion energy",
    "source": "Yu et al. 2022",
    "groups": ("sentence", "energy"),
}


@row("LDEBM w/o GC", regularisers="entropy floor, recovery contrast, information", **DIFFUSION)
@row("LDEBM", regularisers="entropy floor, recovery contrast, information, pseudo-labels", **DIFFUSION)
def ldebm(
    size: SentenceSize,
    *,
    latent_dim: PositiveInt,
    symbols: PositiveInt,
    energy_hidden: PositiveInt,
    energy_blocks: PositiveInt,
    levels: PositiveInt,
    langevin_steps: PositiveInt,
    langevin_step_size: PositiveFloat,
    entropy_floor: NonNegative,
    prior_weight: PositiveFloat,
    information_weight: NonNegative,
    label_weight: NonNegative,
    cluster_dims: PositiveInt,
    cluster_iterations: PositiveInt,
) -> Any:
    """R + γ [negative entropy + prior cross-entropy + contrast] - λ MI + λ_c pseudo-labels; with λ_c > 0 on sentences drawn evenly from geometric clusters."""
    prior = parts.constant(prior_weight)
    clustered = parts.geometric_clusters(symbols, cluster_dims, cluster_iterations)
    network = parts.TimeConditionedNet(latent_dim, energy_hidden, symbols, energy_blocks, levels)
    model = parts.SentenceModel(
        *parts.two_embeddings(size, latent_dim),
        posterior=parts.GaussianPosterior(2 * size.hidden, latent_dim, activate=True),
        prior=parts.LatentDiffusionPrior(network, levels, langevin_steps, langevin_step_size),
        regularisers=[
            parts.Regulariser("negative_entropy", parts.entropy_floor(entropy_floor), prior),
            parts.Regulariser("prior_cross_entropy", parts.prior_cross_entropy, prior),
            parts.Regulariser("contrast", parts.contrast, prior),
            parts.Regulariser("symbol_information", parts.symbol_information, parts.constant(-information_weight)),
            parts.Regulariser("pseudo_label", parts.pseudo_label, parts.constant(label_weight)),
        ],
        likelihoods={"nll_published": parts.latent_diffusion_published},
        plan_epoch=clustered if label_weight else parts.shuffled,
    )
    parts.uniform_(model)
    network.settle()
    return model
