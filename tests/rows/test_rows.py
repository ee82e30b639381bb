"""The rows as their users meet them.

The published ones in their order, a row of one's own, and the list.
"""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from shipped import shipped_parameters

from ldebm import params
from ldebm.build import build_model
from ldebm.config import RowConfig
from ldebm.errors import UserError
from ldebm.models import plans
from ldebm.models.networks import SentenceSize
from ldebm.models.plans import shuffled
from ldebm.models.posteriors import Gaussian
from ldebm.report.models import models_table
from ldebm.report.results import TEST_SET, published_table
from ldebm.rows import ROWS

ROOT = Path(__file__).parents[2]
SIZE = SentenceSize(30, 12, 12, 0.3)


@pytest.fixture
def raw() -> dict[str, Any]:
    return shipped_parameters()


def test_params_hold_every_published_row_in_the_published_order(raw: dict[str, Any]) -> None:
    rows = [block.row for block in params.validate(raw, "params.yaml").models.values()]
    assert [TEST_SET, *rows] == list(published_table())
    assert set(rows) == set(ROWS)


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
        (
            "LDEBM w/o GC",
            {"negative_entropy", "prior_cross_entropy", "contrast", "symbol_information"},
        ),
        (
            "LDEBM",
            {
                "negative_entropy",
                "prior_cross_entropy",
                "contrast",
                "symbol_information",
                "pseudo_label",
            },
        ),
    ],
)
def test_the_objective_of_a_row_is_that_of_its_paper(
    row: str, terms: set[str], small_rows: dict[str, RowConfig]
) -> None:
    model = small_rows[row].build(SIZE)
    assert {term.name for term in model.regularisers if term.weight(99_999, 100_000)} == terms


def test_weights_of_the_published_objectives(raw: dict[str, Any]) -> None:
    """β of the GM and DGM rows, λ of SVEBM-IB, and LDEBM's 0.1, -0.05, 0.05, at full KL weight."""
    late = params.merge(raw, {"models": {"*": {"kl_midpoint": -1e6}}})
    blocks = params.validate(late, "params.yaml").models

    def weights(key: str) -> dict[str, float]:
        return {term.name: term.weight(99, 100) for term in blocks[key].build(SIZE).regularisers}

    assert weights("gm_vae")["dispersion"] == pytest.approx(1)
    assert weights("dgm_vae")["dispersion"] == pytest.approx(0.2)
    assert weights("semi_vae") == pytest.approx({"aggregate_kl": 1, "information": 1, "kl": 1})
    ib = {"free_bits_kl": 0.5, "contrast": 0.5, "symbol_information": -50}
    assert weights("svebm_ib") == pytest.approx(ib)
    gamma = dict.fromkeys(("negative_entropy", "prior_cross_entropy", "contrast"), 0.1)
    assert weights("ldebm") == pytest.approx(
        gamma | {"symbol_information": -0.05, "pseudo_label": 0.05}
    )


@pytest.mark.parametrize("at", [0, 1, 999, 5000])
def test_kl_weights_rise_with_the_step_as_published(raw: dict[str, Any], at: int) -> None:
    """Logistic 0.0025, 2500 of every row but DI-VAE, whose weight is 1 from the start.

    Written out here.
    """
    blocks = params.validate(raw, "params.yaml").models
    logistic = 0.0 if at == 0 else 1 / (1 + np.exp(-0.0025 * (at - 2500)))
    for key in ("vae", "dvae", "semi_vae", "gm_vae", "dgm_vae_i"):
        found = {
            term.name: term.weight(at, 100_000) for term in blocks[key].build(SIZE).regularisers
        }
        own = {name: 0.2 if (key, name) == ("dgm_vae_i", "dispersion") else 1.0 for name in found}
        assert found == pytest.approx({name: factor * logistic for name, factor in own.items()})
    assert [term.weight(at, 100_000) for term in blocks["di_vae"].build(SIZE).regularisers] == [1.0]


def test_samples_of_the_posterior_are_the_published_count(raw: dict[str, Any]) -> None:
    """20 of VAE, Semi-VAE and the GM family, else 1."""
    blocks = params.validate(raw, "params.yaml").models
    many = {"vae", "semi_vae", "semi_vae_i", "gm_vae", "gm_vae_i", "dgm_vae", "dgm_vae_i"}
    assert {key for key, one in blocks.items() if one.build(SIZE).posterior_samples == 20} == many
    assert {one.build(SIZE).posterior_samples for one in blocks.values()} == {1, 20}


def test_initial_weights_are_the_published_ones(raw: dict[str, Any]) -> None:
    blocks = params.validate(
        params.merge(raw, {"models": {"*": {"energy_blocks": 2}}}), "params.yaml"
    )
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


def test_networks_are_those_of_the_papers(small_rows: dict[str, RowConfig]) -> None:
    """Tied or own output layer, one embedding or two, what of z the steps see, the encoder's
    activation.
    """
    models = {name: row.build(SIZE) for name, row in small_rows.items()}
    own = {name for name, model in models.items() if model.decoder.output is not None}
    assert own == {"RNN-LM", "AE", "VAE"}
    shared = {
        n for n, m in models.items() if m.encoder and m.encoder.embedding is m.decoder.embedding
    }
    assert shared == {"AE", "VAE", "DAE", "DVAE", "DI-VAE", "SEMI-VAE", "SEMI-VAE + I"}
    for name, model in models.items():
        whole = model.decoder.initial.in_features if model.decoder.initial else 0
        expected = small_rows[name].latent_dim if name.startswith("SEMI") else whole
        assert model.decoder.step_dim == expected
    activated = {n for n, m in models.items() if getattr(m.posterior, "activate", False)}
    assert activated == {"LDEBM w/o GC", "LDEBM"}
    assert {name for name, model in models.items() if not model.greedy} == {"RNN-LM"}
    clustered = {n for n, m in models.items() if m.plan_epoch is not shuffled}
    assert clustered == {"LDEBM"}


def test_every_network_runs_in_the_arithmetic_that_is_asked_for(
    small_rows: dict[str, RowConfig],
) -> None:
    for row in small_rows.values():
        for wanted in (False, True):
            model = row.build(replace(SIZE, bfloat16=wanted))
            networks = [one for one in (model.encoder, model.decoder) if one is not None]
            assert [one.autocast for one in networks] == [wanted] * len(networks)


def test_the_keys_of_ldebm_reach_what_they_name(
    small_rows: dict[str, RowConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def cluster(points: Any, *rest: int) -> Any:
        asked.append(rest)
        return np.zeros(len(points), np.int64)

    monkeypatch.setattr(plans, "cluster", cluster)
    keys = {"symbols": 4, "cluster_dims": 2, "cluster_iterations": 9, "levels": 5}
    chains = {"langevin_steps": 6, "sampling_steps": 8, "langevin_step_size": 0.01}
    model = small_rows["LDEBM"].model_copy(update=keys | chains).build(SIZE)
    model.plan_epoch(3, np.random.default_rng(1), lambda: np.zeros((3, 2)))
    assert asked == [(4, 2, 9, 0)]
    prior: Any = model.prior
    assert prior.noise == (1, 8, 8, 8, 8, 8)
    assert (prior.steps, prior.step_size) == (6, 0.01)
    assert prior.symbols(torch.zeros(3, prior.noise_width)).shape == (3, 4)


def test_the_keys_of_other_rows_reach_what_they_name(small_rows: dict[str, RowConfig]) -> None:
    """The weight of SVEBM's KL, the floor of LDEBM's entropy, the code of SEMI-VAE."""
    keys = {"kl_maximum": 0.3, "kl_cycles": 1}
    svebm = small_rows["SVEBM"].model_copy(update=keys).build(SIZE)
    kl = next(one for one in svebm.regularisers if one.name == "free_bits_kl")
    assert kl.weight(99, 100) == pytest.approx(0.3)

    q = Gaussian(torch.zeros(1, 2), torch.full((1, 2), -4.0))  # -½(1 + logvar) is 1.5
    draw: Any = SimpleNamespace(gaussian=q)
    for floor, expected in ((1.2, 3.0), (1.8, 0.0)):
        ldebm = small_rows["LDEBM"].model_copy(update={"entropy_floor": floor}).build(SIZE)
        entropy = next(one for one in ldebm.regularisers if one.name == "negative_entropy")
        assert entropy.term(draw).sum().item() == pytest.approx(expected)

    keys = {"variables": 3, "values": 4, "latent_dim": 2}
    semi = small_rows["SEMI-VAE"].model_copy(update=keys).build(SIZE)
    z = semi.prior.sample(50, torch.Generator().manual_seed(1))
    code = z[:, :12].view(50, 3, 4)  # three variables of four values each
    assert torch.equal(code.sum(2), torch.ones(50, 3))


def test_every_weight_belongs_to_one_group(small_rows: dict[str, RowConfig]) -> None:
    """An energy's weights to its own, or two rates would act on them."""
    for name, row in small_rows.items():
        model = row.build(SIZE)
        groups = model.parameter_groups()
        given = [id(one) for group in groups.values() for one in group]
        assert len(given) == len(set(given))
        assert set(given) == {id(one) for one in model.parameters()}
        energy = {id(one) for one in model.prior.energy_parameters()}
        assert {id(one) for one in groups.get("energy", [])} == energy
        assert bool(energy) == name.startswith(("SVEBM", "LDEBM"))


def test_the_spectral_norm_is_settled(small_rows: dict[str, RowConfig]) -> None:
    """At the start every normalised weight has a largest singular value near 1, by a full
    decomposition.
    """
    torch.manual_seed(1)
    network = small_rows["LDEBM"].build(SIZE).eval().prior.network
    for layers in (network.latent_in, network.time_in, network.join, network.blocks, network.out):
        for layer in layers:
            assert torch.linalg.matrix_norm(layer.weight, 2).item() == pytest.approx(1, abs=0.03)


def test_labels_follow_the_parameters(raw: dict[str, Any]) -> None:
    """A changed factor shows in the list of rows; 0 takes the term out."""
    raw["models"]["svebm"]["information_weight"] = 50.0
    raw["models"]["gm_vae"]["information_weight"] = 0.0
    lines = {
        line.split("|")[2].strip(): line
        for line in models_table(params.validate(raw, "p")).splitlines()
    }
    assert "-50 symbol information" in lines["svebm"]
    assert "information" not in lines["gm_vae"]
    assert "0.2 dispersion" in lines["dgm_vae"]


def test_rows_of_one_source_share_one_recipe(raw: dict[str, Any]) -> None:
    """Rows published together are trained alike and have the sizes they share in common."""
    blocks = params.validate(raw, "params.yaml").models
    patient = [one.training for one in blocks.values() if one.training.stop == "patience"]
    assert len(patient) == 12
    assert all(one == patient[0] for one in patient)
    for family in (("svebm", "svebm_ib"), ("ldebm_no_gc", "ldebm")):
        assert len({str(blocks[key].training) for key in family}) == 1


OWN = """
from pydantic import PositiveInt
from ldebm.config import RowConfig
from shipped import shipped_parameters

class Plain(RowConfig):
    names = ("Plain",)
    source = "this test"
    latent_dim: PositiveInt

    def build(self, size):
        from ldebm.rows.autoencoder import AeRow
        return AeRow(row="AE", latent_dim=self.latent_dim, training=self.training).build(size)

NOT_A_ROW = 3
"""


def test_a_row_in_a_file_of_ones_own(
    raw: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_rows.py").write_text(OWN)
    training = raw["models"]["vae"]["training"]
    raw["models"]["mine"] = {"row": "my_rows.py:Plain", "latent_dim": 3, "training": training}
    settings = params.validate(raw, "params.yaml")
    assert settings.models["mine"].name == "Plain"
    assert build_model(settings, "mine", 20).decoder.initial.in_features == 3
    assert "| Plain " in models_table(settings)
    raw["models"]["mine"]["latent_dim"] = -1
    with pytest.raises(UserError, match=r"models\.mine\.latent_dim: .*greater than 0"):
        params.validate(raw, "params.yaml")


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("my_rows.py:Missing", "defines no 'Missing'|defines no Missing"),
        ("my_rows.py", "defines no 'name after the colon'"),
        ("my_rows.py:NOT_A_ROW", "no subclass"),
        ("absent.py:Plain", "is no Python file"),
        ("broken.py:Plain", "fails when it is run: ZeroDivisionError"),
        ("Plain", "known rows: RNN-LM"),
    ],
)
def test_a_row_that_cannot_be_found_is_one_line(
    raw: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, row: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_rows.py").write_text(OWN)
    (tmp_path / "broken.py").write_text("1 / 0\n")
    raw["models"]["mine"] = {"row": row, "training": raw["models"]["vae"]["training"]}
    with pytest.raises(UserError, match=rf"^params.yaml: models\.mine\.row: .*({said})") as caught:
        params.validate(raw, "params.yaml")
    assert "\n" not in str(caught.value)


def test_readme_lists_the_rows_as_they_are_composed(raw: dict[str, Any]) -> None:
    listed = models_table(params.validate(raw, "params.yaml"))
    assert listed in (ROOT / "README.md").read_text(encoding="utf-8"), (
        "paste the output of `ldebm models` into README.md"
    )


def test_rows_say_whether_their_output_layer_is_the_embedding(
    small_rows: dict[str, RowConfig],
) -> None:
    for name, row in small_rows.items():
        model = row.build(SIZE)
        assert row.tied == (model.decoder.output is None), name
        if row.tied:
            with pytest.raises(UserError, match="embedding 12, hidden 14"):
                row.build(replace(SIZE, hidden=14))
