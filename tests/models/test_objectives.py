"""Each row's objective, recomputed by hand from the same draws, with the formulas written out anew.

Nothing of the priors, regularisers or schedules is used here but their weights; what is drawn is
drawn again from a generator of the same seed, in the order that the objective states.
"""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Categorical, Independent, Normal, kl_divergence

from ldebm.config import RowConfig
from ldebm.data.batches import Batch
from ldebm.data.vocabulary import BOS, EOS, PAD
from ldebm.models.energy import SymbolEnergy
from ldebm.models.networks import SentenceSize
from ldebm.models.posteriors import Gaussian
from ldebm.models.priors import Prior
from ldebm.models.sentence import SentenceModel
from ldebm.rows import ROWS

SIZE = SentenceSize(vocabulary=30, embedding=12, hidden=12, dropout=0.0)
SENTENCES = [[5, 6, 7, 8], [9, 10], [11, 12, 13, 14, 15, 16, 5], [3], [7, 7, 8, 20, 21]]
LABELS = torch.tensor([0, 3, 1, 2, 19])
STEP, STEPS = 2_000, 10_000  # halfway up the logistic weight; at full weight of a cycle


@pytest.fixture
def batch() -> Batch:
    lengths = torch.tensor([len(sentence) + 1 for sentence in SENTENCES])
    tokens = torch.full((len(SENTENCES), int(lengths.max()) + 1), PAD)
    for row, sentence in enumerate(SENTENCES):
        tokens[row, : len(sentence) + 2] = torch.tensor([BOS, *sentence, EOS])
    return Batch(tokens, lengths, np.arange(len(SENTENCES)), LABELS)


@pytest.fixture
def built(small_rows: dict[str, RowConfig]) -> Callable[[str], SentenceModel]:
    def make(name: str) -> SentenceModel:
        torch.manual_seed(3)
        model = small_rows[name].build(SIZE)
        with torch.no_grad():  # so that posteriors and components differ from sentence to sentence
            for parameter in model.posterior.parameters():
                parameter.mul_(4)
        return model.train()

    return make


def costs(model: SentenceModel, batch: Batch, z: Tensor) -> Tensor:
    """R of one sentence and one z at a time, token by token: (S, B) from (S, B, D)."""
    table = torch.zeros(z.shape[:2])
    decoder = model.decoder
    for sample in range(z.shape[0]):
        for row, length in enumerate(batch.lengths.tolist()):
            code = z[sample, row]
            state = decoder.initial(code)[None, None] if decoder.initial else torch.zeros(1, 1, 12)
            seen = code[len(code) - decoder.step_dim :]
            for place in range(length):
                word = decoder.embedding.weight[batch.tokens[row, place]]
                output, state = decoder.gru(torch.cat([word, seen])[None, None], state)
                layer = decoder.output
                weight = decoder.embedding.weight if layer is None else layer.weight
                logits = weight @ output[0, 0] + (0 if layer is None else layer.bias)
                table[sample, row] -= logits.log_softmax(0)[batch.tokens[row, place + 1]]
    return table


def gumbel(logits: Tensor, samples: int, generator: torch.Generator) -> Tensor:
    uniform = torch.rand(samples, *logits.shape, generator=generator)
    return (logits - (-uniform.log()).log()).softmax(-1).flatten(2)


def gaussian(q: Gaussian, samples: int, generator: torch.Generator) -> Tensor:
    return q.mean + (0.5 * q.logvar).exp() * torch.randn(
        samples, *q.mean.shape, generator=generator
    )


def uniform_kl(probs: Tensor) -> Tensor:
    """Σ over variables of KL(p ‖ uniform) from torch.distributions: (…, M, K) -> (…)."""
    flat = Categorical(probs=torch.full_like(probs, 1 / probs.shape[-1]))
    return kl_divergence(Categorical(probs=probs), flat).sum(-1)


def standard_kl(q: Gaussian) -> Tensor:
    normal = Normal(q.mean, (0.5 * q.logvar).exp())
    return kl_divergence(normal, Normal(0.0, 1.0))


def by_hand(
    model: SentenceModel, name: str, batch: Batch, generator: torch.Generator, weight: float
) -> Tensor:
    """The objective of a row and its terms."""
    q = model.encode(batch)
    if name == "RNN-LM":
        return costs(model, batch, torch.zeros(1, len(SENTENCES), 0)).mean()
    if name == "AE":
        return costs(model, batch, q.value[None]).mean()
    if name in ("DAE", "DVAE", "DI-VAE"):
        reconstruction = costs(model, batch, gumbel(q.logits, 1, generator)).mean()
        each, together = uniform_kl(q.probs).mean(), uniform_kl(q.probs.mean(0))
        return reconstruction + {"DAE": 0, "DVAE": weight * each, "DI-VAE": together}[name]
    if name == "VAE":
        z = gaussian(q, 2, generator)
        return costs(model, batch, z).mean() + weight * standard_kl(q).sum(-1).mean()
    if name.startswith("SEMI"):
        code = gumbel(q.code.logits, 2, generator)
        z = torch.cat([code, gaussian(q.gaussian, 2, generator)], -1)
        whole, together = uniform_kl(q.code.probs).mean(), uniform_kl(q.code.probs.mean(0))
        discrete = together if name.endswith("+ I") else whole  # KL(q̄) + I is the mean KL
        kl = discrete + standard_kl(q.gaussian).sum(-1).mean()
        return costs(model, batch, z).mean() + weight * kl
    return mixture_by_hand(model, name, batch, generator, weight)


def mixture_by_hand(
    model: SentenceModel, name: str, batch: Batch, generator: torch.Generator, weight: float
) -> Tensor:
    q, prior = model.encode(batch), model.prior
    z, probs = gaussian(q, 2, generator), q.code.probs
    groups, _, dim = prior.mean.shape
    mean, logvar = (value.view(-1, groups, dim) for value in (q.mean, q.logvar))
    eta1 = torch.einsum("bgk,gkd->bgd", probs, prior.mean / prior.logvar.exp())
    eta2 = torch.einsum("bgk,gkd->bgd", probs, -0.5 / prior.logvar.exp())
    averaged = Independent(Normal(-eta1 / (2 * eta2), (-0.5 / eta2).sqrt()), 1)
    own = Independent(Normal(mean, (0.5 * logvar).exp()), 1)
    z_term = kl_divergence(own, averaged).sum(-1)
    each = Independent(Normal(prior.mean, (0.5 * prior.logvar).exp()), 1)
    wide = Independent(Normal(mean[:, :, None], (0.5 * logvar).exp()[:, :, None]), 1)
    expected = (probs * kl_divergence(wide, each)).sum((-1, -2))  # Z + D
    beta = 0.2 if name.startswith("DGM") else 1.0
    discrete = uniform_kl(probs.mean(0)) if name.endswith("+ I") else uniform_kl(probs).mean()
    kl = discrete + z_term.mean() + beta * (expected - z_term).mean()
    return costs(model, batch, z).mean() + weight * kl


ENERGY = ("SVEBM", "SVEBM-IB", "LDEBM w/o GC", "LDEBM")


@pytest.mark.parametrize("name", [name for name in ROWS if name not in ENERGY])
def test_the_objective_of_rows_without_an_energy(
    name: str, built: Callable[[str], SentenceModel], batch: Batch
) -> None:
    model, seeded = built(name), torch.Generator
    loss = model.loss(batch, STEP, STEPS, seeded().manual_seed(5))
    weight = 1 / (1 + math.exp(-0.0025 * (STEP - 2500)))
    expected = by_hand(model, name, batch, seeded().manual_seed(5), weight)
    torch.testing.assert_close(loss.total, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["VAE", "SVEBM", "LDEBM w/o GC", "LDEBM"])
def test_a_posterior_is_linear_in_the_states_and_of_ldebm_in_their_activation(
    name: str, built: Callable[[str], SentenceModel], batch: Batch
) -> None:
    """Mean and log-variance from a GRU that reads one sentence at a time, both ways."""
    model = built(name)
    q, encoder, head = model.encode(batch), model.encoder, model.posterior
    for row, sentence in enumerate(SENTENCES):
        words = [BOS, *sentence, EOS]
        ahead = encoder.forwards(encoder.embedding(torch.tensor([words])))[1][0, 0]
        back = encoder.backwards(encoder.embedding(torch.tensor([words[::-1]])))[1][0, 0]
        h = torch.cat([ahead, back])
        if name.startswith("LDEBM"):
            h = torch.where(h < 0, 0.01 * h, h)
        torch.testing.assert_close(q.mean[row], head.mean.weight @ h + head.mean.bias)
        torch.testing.assert_close(q.logvar[row], head.logvar.weight @ h + head.logvar.bias)


def symbol_information(logits: Tensor) -> Tensor:
    probs = logits.softmax(-1)
    return Categorical(probs=probs.mean(0)).entropy() - Categorical(probs=probs).entropy().mean()


def free_energy_gradient(f: Callable[[Tensor], Tensor], z: Tensor) -> Tensor:
    with torch.enable_grad():
        z = z.detach().requires_grad_()
        return torch.autograd.grad(f(z).logsumexp(-1).sum(), z)[0]


@pytest.mark.parametrize("name", ["SVEBM", "SVEBM-IB"])
@pytest.mark.parametrize("step", [100, 999])
def test_the_objective_of_svebm(
    name: str, step: int, built: Callable[[str], SentenceModel], batch: Batch
) -> None:
    """Step 999 of 10,000 is at full weight, 0.5.

    At step 100 the weight is 0, and the loss R alone.
    """
    model, generator = built(name), torch.Generator().manual_seed(5)
    with torch.no_grad():  # a small energy would hide where chains start, and with which noise
        for parameter in model.prior.parameters():
            parameter.mul_(10)
    loss = model.loss(batch, step, STEPS, torch.Generator().manual_seed(5))
    q = model.encode(batch)
    z = gaussian(q, 1, generator)
    reconstruction = costs(model, batch, z).mean()
    if step == 100:
        assert set(loss.terms) == {"reconstruction"}
        torch.testing.assert_close(loss.total, reconstruction, rtol=1e-4, atol=1e-4)
        return
    layers = model.prior.network.layers

    def f(z: Tensor) -> Tensor:
        h = torch.nn.functional.gelu(layers[0](z))
        return layers[2](torch.nn.functional.gelu(layers[1](h)))

    negative = torch.randn(z[0].shape, generator=generator)
    for _ in range(3):
        noise = torch.randn(z[0].shape, generator=generator)
        drift = free_energy_gradient(f, negative) - negative
        negative = negative + 0.5**2 / 2 * drift + 0.5 * noise
    kl = standard_kl(q)
    kept = torch.where(kl > 1.0, kl, 0.0).sum(-1).mean()
    contrast = f(negative).logsumexp(-1).mean() - f(z[0]).logsumexp(-1).mean()
    bottleneck = -50 * symbol_information(f(z[0])) if name == "SVEBM-IB" else 0
    expected = reconstruction + 0.5 * (kept + contrast) + bottleneck
    torch.testing.assert_close(loss.total, expected, rtol=1e-4, atol=1e-4)


def noise_levels() -> list[Tensor]:
    """ā_t, a_t, a⁻_t, σ_t and σ̄_t of six levels, from the definition."""
    cumulative = (1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)).sqrt().cumprod(0)
    a_bar = cumulative[[0, 100, 200, 300, 400, 500, 999]]
    a = torch.cat([a_bar[:1], a_bar[1:] / a_bar[:-1]])
    before = torch.cat([a[:-1], torch.ones(1, dtype=torch.float64)])
    levels = (a_bar, a, before, (1 - a**2).sqrt(), (1 - a_bar**2).sqrt())
    return [values.float() for values in levels]


@pytest.mark.parametrize("name", ["LDEBM w/o GC", "LDEBM"])
def test_the_objective_of_ldebm(
    name: str, built: Callable[[str], SentenceModel], batch: Batch
) -> None:
    """All four parts from one draw of levels and noise, chains started at z_{t+1}."""
    model = built(name)
    with torch.no_grad():  # a small energy would hide a wrong sign
        for parameter in model.prior.parameters():
            parameter.mul_(3)
    model.prior.network.settle(30)
    state = model.prior.state_dict()
    loss = model.loss(batch, STEP, STEPS, torch.Generator().manual_seed(5))
    gradients = {n: p.grad for n, p in _gradients(model, loss.total)}
    model.prior.load_state_dict(state)  # power iteration goes on from the same vectors
    generator = torch.Generator().manual_seed(5)
    q = model.encode(batch)
    z = gaussian(q, 1, generator)
    count, dim = z[0].shape
    a_bar, a, before, sigma, sigma_bar = noise_levels()
    t = torch.cat([torch.randint(5, (count,), generator=generator), torch.full((count,), 5)])
    noise = torch.randn(3, 2 * count, dim, generator=generator)
    weights = model.prior.network.weights()
    frozen = weights.detach()
    z_t = a_bar[t, None] * z[0].repeat(2, 1) + sigma_bar[t, None] * noise[0]
    z_next = (a[t + 1, None] * z_t + sigma[t + 1, None] * noise[1]).detach()
    b2 = (0.002 * sigma[t + 1] ** 2 * sigma_bar[t] / sigma_bar[0])[:, None]
    moved = z_next
    for _ in range(3):
        epsilon = torch.randn(z_next.shape, generator=generator)
        force = free_energy_gradient(lambda at: frozen.logits(at, t), moved)
        pull = (moved - torch.where((t < 5)[:, None], z_next, 0.0)) / sigma[t + 1, None] ** 2
        moved = moved + 0.5 * force - b2 / 2 * pull + b2.sqrt() * epsilon
    negative = moved / before[t + 1, None]

    def energy(net: SymbolEnergy, at: Tensor) -> Tensor:
        return net.logits(before[t + 1, None] * at, t).logsumexp(-1)

    scale = sigma[1] / sigma[t + 1]
    contrast = (scale * (energy(weights, negative) - energy(weights, z_t.detach()))).view(2, -1)
    cross = -(scale * energy(frozen, z_t)).view(2, -1).sum(0)
    cross = cross + sigma[1] / sigma[6] * 0.5 * (z_t[count:] ** 2).sum(-1)
    negative_entropy = -0.5 * (1 + q.logvar)
    kept = torch.where(negative_entropy > 1.0, negative_entropy, 0.0).sum(-1)
    level_0 = a_bar[0] * z[0] + sigma_bar[0] * noise[2, :count]
    logits = weights.logits(a[1] * level_0, torch.zeros(count, dtype=torch.long))
    prior = 0.1 * (kept.mean() + cross.mean() + contrast.sum(0).mean())
    expected = costs(model, batch, z).mean() + prior - 0.05 * symbol_information(logits)
    if name == "LDEBM":
        chosen = logits.log_softmax(-1)[torch.arange(count), LABELS]
        expected = expected - 0.05 * chosen.mean()
    torch.testing.assert_close(loss.total, expected, rtol=1e-4, atol=1e-4)
    for key, parameter in _gradients(model, expected):
        torch.testing.assert_close(parameter.grad, gradients[key], rtol=1e-3, atol=1e-5)


def test_a_new_ldebm_has_settled_weights(built: Callable[[str], SentenceModel]) -> None:
    """The largest singular value of every weight as it is used is 1, from the first step on."""
    weights = built("LDEBM").eval().prior.network.weights()
    parts = (weights.latent_in, weights.time_in, weights.join, weights.blocks, weights.out)
    largest = torch.stack([torch.linalg.svdvals(w)[0] for part in parts for w, _ in part])
    torch.testing.assert_close(largest, torch.ones(len(largest)), rtol=0.1, atol=0)


def _gradients(model: SentenceModel, total: Tensor) -> list[tuple[str, torch.nn.Parameter]]:
    model.zero_grad(set_to_none=True)
    total.backward()
    return [(name, one) for name, one in model.named_parameters() if one.grad is not None]


@pytest.mark.parametrize("name", ROWS)
def test_validation_is_the_negative_elbo(
    name: str, built: Callable[[str], SentenceModel], batch: Batch
) -> None:
    """One draw from each sentence's own generator, the mode of codes, and the true KL where there
    is one.
    """
    model = built(name).eval()
    q = model.encode(batch)
    code = q.code
    drawn = q.gaussian
    parts = []
    if code is not None and not name.endswith(("GM-VAE", "GM-VAE + I")):
        chosen = torch.eye(code.logits.shape[-1])[code.logits.argmax(-1)]
        parts.append(chosen.flatten(1))
    if drawn is not None:
        epsilon = torch.stack(
            [_own_noise(7, i, drawn.mean.shape[1]) for i in range(len(SENTENCES))]
        )
        parts.append(drawn.mean + (0.5 * drawn.logvar).exp() * epsilon)
    z = torch.cat(parts, 1) if parts else q.mode()
    kl = torch.zeros(len(SENTENCES))
    if name in ("DVAE", "DI-VAE") or name.startswith("SEMI"):
        kl = kl + uniform_kl(code.probs)
    if name == "VAE" or name.startswith("SEMI"):
        kl = kl + standard_kl(drawn).sum(-1)
    if "GM-VAE" in name:
        prior = model.prior
        shape = (-1, prior.mean.shape[0], 1, prior.mean.shape[2])
        own = Normal(drawn.mean.view(shape), (0.5 * drawn.logvar).exp().view(shape))
        component = kl_divergence(own, Normal(prior.mean, (0.5 * prior.logvar).exp())).sum(-1)
        kl = kl + (code.probs * component).sum((-1, -2)) + uniform_kl(code.probs)
    expected = costs(model, batch, z[None])[0] + kl
    torch.testing.assert_close(model.validation_loss(batch, 7), expected, rtol=1e-4, atol=1e-4)


def _own_noise(seed: int, index: int, width: int) -> Tensor:
    state = np.random.SeedSequence([seed, index]).generate_state(1, np.uint64)[0]
    generator = torch.Generator().manual_seed(int(state >> np.uint64(1)))
    return torch.randn(width, generator=generator)


@pytest.mark.parametrize("name", ["VAE", "LDEBM"])
def test_dropout_falls_on_words_and_on_outputs(
    name: str, small_rows: dict[str, RowConfig], batch: Batch
) -> None:
    """With a dropout of 1 nothing of the words and nothing of the states is left."""
    torch.manual_seed(3)
    size = SentenceSize(vocabulary=30, embedding=12, hidden=12, dropout=1.0)
    decoder = small_rows[name].build(size).train().decoder
    z = torch.zeros(len(SENTENCES), decoder.initial.in_features)
    logits_gone = decoder(batch.tokens, batch.lengths, z) / batch.lengths
    bias = torch.zeros(30) if decoder.output is None else decoder.output.bias
    targets = [torch.tensor([*sentence, EOS]) for sentence in SENTENCES]
    flat = torch.stack([-bias.log_softmax(0)[target].mean() for target in targets])
    torch.testing.assert_close(logits_gone, flat)
    seen = []
    decoder.gru.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0][..., :12]))
    decoder(batch.tokens, batch.lengths, z)
    assert not seen[0].any()


def test_terms_share_one_draw(
    built: Callable[[str], SentenceModel], batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The energy-based prior draws once a step, however many terms read from the draw."""
    model, calls = built("LDEBM"), []
    draw = model.prior.draw
    monkeypatch.setattr(model.prior, "draw", lambda *given: calls.append(given) or draw(*given))
    generator = torch.Generator().manual_seed(5)
    loss = model.loss(batch, STEP, STEPS, generator)
    assert len(loss.terms) == 6
    assert len(calls) == 1
    assert calls[0][1] is generator


def test_a_tied_output_layer_learns_through_both_uses(
    built: Callable[[str], SentenceModel], batch: Batch
) -> None:
    """A word that is only ever a wrong answer gets its gradient from the output layer."""
    model = built("GM-VAE")
    model.loss(batch, STEP, STEPS, torch.Generator().manual_seed(5)).total.backward()
    unused = model.decoder.embedding.weight.grad[29]
    assert unused.abs().sum() > 0


def test_samples_come_from_the_prior_and_rnn_lm_draws_its_words(
    built: Callable[[str], SentenceModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, generator = built("VAE").eval(), torch.Generator().manual_seed(2)
    z = torch.randn(1, 6, 6, generator=torch.Generator().manual_seed(2))[0]
    assert torch.equal(model.sample(6, 9, generator), model.decoder.decode(z, 9))
    language_model, drawn = built("RNN-LM").eval(), []
    decode = language_model.decoder.decode
    monkeypatch.setattr(language_model.decoder, "decode", lambda *a: drawn.append(a) or decode(*a))
    language_model.sample(3, 9, generator)
    assert drawn[0][2] is generator


def test_chains_read_the_generator_they_are_given(built: Callable[[str], SentenceModel]) -> None:
    """Two seeds, two samples; one seed, one sample, whatever the global state."""
    for name in ENERGY:
        prior: Prior = built(name).eval().prior
        first, again, other = (prior.sample(4, torch.Generator().manual_seed(s)) for s in (1, 1, 2))
        torch.rand(7)
        assert torch.equal(first, again)
        assert not torch.allclose(first, other, atol=1e-2)
