"""The zoo as its users meet it: the published rows in their order, a row of one's own, and the list of both."""

from pathlib import Path
from typing import Annotated

import numpy as np
import pytest
import torch
import yaml
from pydantic import Field

from ldebm import config as params
from ldebm import parts, zoo
from ldebm.errors import UserError
from ldebm.report.models import models_table
from ldebm.report.results import TEST_SET, published_table
from ldebm.training.loop import build_model

ROOT = Path(__file__).parents[1]


@pytest.fixture
def raw():
    return yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))


def test_params_hold_every_published_row_in_the_published_order(raw):
    rows = [block.row for block in params.validate(raw, "params.yaml").models.values()]
    assert [TEST_SET, *rows] == list(published_table())
    assert set(rows) == set(zoo.MODELS)


@pytest.mark.parametrize(
    ("row", "terms"),
    [
        ("RNN-LM", set()),
        ("AE", set()),
        ("DAE", set()),
        ("VAE", {"kl"}),
        ("DVAE", {"kl"}),
        ("DI-VAE", {"aggregate_kl"}),
        ("SEMI-VAE", {"aggregate_kl", "information", "kl"}),
        ("SEMI-VAE + I", {"aggregate_kl", "kl"}),
        ("GM-VAE", {"aggregate_kl", "information", "averaged_kl", "dispersion"}),
        ("DGM-VAE + I", {"aggregate_kl", "averaged_kl", "dispersion"}),
        ("SVEBM", {"free_bits_kl", "contrast"}),
        ("SVEBM-IB", {"free_bits_kl", "contrast", "symbol_information"}),
        ("LDEBM w/o GC", {"negative_entropy", "prior_cross_entropy", "contrast", "symbol_information"}),
        ("LDEBM", {"negative_entropy", "prior_cross_entropy", "contrast", "symbol_information", "pseudo_label"}),
    ],
)
def test_the_objective_of_a_row_is_that_of_its_paper(row, terms, small_arguments):
    model = zoo.MODELS[row].build(zoo.SentenceSize(30, 12, 12, 0.3), **small_arguments[row])
    assert {term.name for term in model.regularisers if term.weight(99_999, 100_000)} == terms


def test_weights_of_the_published_objectives(raw):
    """β of the GM and DGM rows, the bottleneck of SVEBM-IB, and LDEBM's 0.1, -0.05, 0.05, at full KL weight."""
    blocks = params.validate(raw, "params.yaml").models

    def weights(key):
        size = zoo.SentenceSize(30, 12, 12, 0.3)
        arguments = (
            blocks[key].arguments() | {"kl_midpoint": -1e6}
            if "kl_midpoint" in blocks[key].arguments()
            else blocks[key].arguments()
        )
        return {
            term.name: term.weight(99, 100)
            for term in zoo.MODELS[blocks[key].row].build(size, **arguments).regularisers
        }

    assert weights("gm_vae")["dispersion"] == pytest.approx(1)
    assert weights("dgm_vae")["dispersion"] == pytest.approx(0.2)
    assert weights("svebm_ib") == pytest.approx({"free_bits_kl": 0.5, "contrast": 0.5, "symbol_information": -50})
    assert weights("ldebm") == pytest.approx(
        {
            "negative_entropy": 0.1,
            "prior_cross_entropy": 0.1,
            "contrast": 0.1,
            "symbol_information": -0.05,
            "pseudo_label": 0.05,
        }
    )


def test_initial_weights_are_the_published_ones(raw):
    blocks = params.validate(params.merge(raw, {"models": {"*": {"energy_blocks": 2}}}), "params.yaml")
    torch.manual_seed(1)
    for key in ("rnn_lm", "svebm", "ldebm"):
        assert max(p.abs().max().item() for p in build_model(blocks, key, 300).parameters()) <= 0.1
    vae, gm = build_model(blocks, "vae", 300), build_model(blocks, "gm_vae", 300)
    assert vae.encoder.embedding is vae.decoder.embedding
    assert vae.decoder.embedding.weight.abs().max() <= 0.1
    assert vae.encoder.forwards.weight_hh_l0.abs().max() <= 512**-0.5
    assert gm.encoder.embedding.weight.std().item() == pytest.approx(1, abs=0.02)
    assert gm.decoder.output is None
    assert vae.decoder.output.bias is not None


@pytest.fixture
def toy_row():
    """A row added as the README says: a builder, decorated. Taken out again afterwards."""

    @zoo.row("Toy", posterior="Gaussian", prior="N(0, I)", regularisers="KL, half of it", source="this test")
    def toy(size: zoo.SentenceSize, *, latent_dim: int, strength: Annotated[float, Field(gt=0)]):
        return parts.SentenceModel(
            *parts.one_embedding(size, latent_dim, tied=True),
            posterior=parts.GaussianPosterior(2 * size.hidden, latent_dim),
            prior=parts.StandardNormal(latent_dim),
            regularisers=[parts.Regulariser("kl", parts.divergence, parts.constant(strength))],
            likelihoods={"nll": parts.importance_sampled},
        )

    yield "Toy"
    del zoo.MODELS["Toy"]


def test_a_row_of_ones_own(raw, toy_row, generator):
    training = raw["models"]["vae"]["training"]
    raw["models"]["toy"] = {"row": toy_row, "latent_dim": 3, "strength": 0.5, "training": training}
    raw["sentence_model"] |= {"embedding": 8, "hidden": 8}
    settings = params.validate(raw, "params.yaml")
    model = build_model(settings, "toy", 20)
    from ldebm.data.batches import Batch

    batch = Batch(torch.tensor([[1, 5, 6, 2]]), torch.tensor([3]), np.array([0]))
    loss = model.loss(batch, 1, 2, generator)
    torch.testing.assert_close(loss.total.detach(), loss.terms["reconstruction"] + 0.5 * loss.terms["kl"])
    assert "| Toy " in models_table(settings)
    raw["models"]["toy"]["strength"] = -1.0
    with pytest.raises(UserError, match=r"models\.toy\.strength: .*greater than 0"):
        params.validate(raw, "params.yaml")


def test_readme_lists_the_models_as_the_zoo_does(raw):
    listed = models_table(params.validate(raw, "params.yaml"))
    assert listed in (ROOT / "README.md").read_text(encoding="utf-8"), (
        "paste the output of `ldebm models` into README.md"
    )
