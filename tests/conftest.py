"""What several tests share."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import settings
from shipped import shipped_parameters

from ldebm import params
from ldebm.config import RowConfig
from ldebm.context import Context
from ldebm.data.corpus import Corpus, tokenize
from ldebm.models.energy import TimeConditionedWeights
from ldebm.runtime.tracking import NoTracker

# drawn the same way every time, and so often that it costs seconds
settings.register_profile("fixed", derandomize=True, max_examples=40, deadline=None, database=None)
settings.load_profile("fixed")

# The models are tiny: two threads do nothing but wait for each other, for fifty times as long where
# the machine has other work.
os.environ.setdefault("OMP_NUM_THREADS", "1")
torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))

GOLDEN = Path(__file__).parent / "golden"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long files first, so that processes side by side end together."""
    items.sort(key=lambda item: item.path.parent.name != "workflow")


@pytest.fixture(scope="session", autouse=True)
def _interruptible() -> None:
    """Where the tests run in the background, a shell has SIGINT ignored, and so would every process
    that they interrupt.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def golden() -> dict[str, Any]:
    """Numbers that the published implementations give on fixed inputs."""
    return json.loads((GOLDEN / "reference_numbers.json").read_text())


@pytest.fixture(scope="session")
def golden_text() -> dict[str, Any]:
    """Text scores of fixed hypotheses and samples."""
    return json.loads((GOLDEN / "reference_text_scores.json").read_text())


@pytest.fixture
def generator() -> torch.Generator:
    """A seeded generator."""
    return torch.Generator().manual_seed(1)


def close(actual: Any, expected: Any, scale: Any = None) -> None:
    """Fail unless `actual` equals `expected` to 1e-5 of the largest value of the entry (`scale`,
    where it is not `expected` itself).
    """
    expected = torch.as_tensor(expected, dtype=torch.float64)
    largest = torch.as_tensor(expected if scale is None else scale).abs().max()
    difference = (torch.as_tensor(actual).detach().double() - expected).abs().max()
    assert difference <= 1e-5 * largest, f"differs by {difference:.3g}, largest value {largest:.3g}"


@pytest.fixture(name="close", scope="session")
def _close() -> Any:
    return close


@pytest.fixture(scope="session")
def golden_net(golden: dict[str, Any]) -> TimeConditionedWeights:
    """The energy network of the golden numbers."""
    weights = golden["energy_net"]["weights"]
    layers = {
        name: weights[name] if isinstance(weights[name], list) else [weights[name]]
        for name in ("latent_in", "time_in", "join", "blocks", "out")
    }
    affine = {
        name: [(torch.tensor(one["weight"]), torch.tensor(one["bias"])) for one in value]
        for name, value in layers.items()
    }
    return TimeConditionedWeights(table=torch.tensor(weights["time_table"]), **affine)


ROOT = Path(__file__).parents[1]
SMALL = {
    "latent_dim": 6,
    "groups": 3,
    "posterior_samples": 2,
    "energy_hidden": 10,
    "energy_blocks": 2,
    "langevin_steps": 3,
}


@pytest.fixture(scope="session")
def small_rows() -> dict[str, RowConfig]:
    """Every row of params.yaml at a small size, by the row's name."""
    raw = shipped_parameters()
    small = params.validate(params.merge(raw, {"models": {"*": SMALL}}), "params.yaml")
    return {block.name: block for block in small.models.values()}


SPLITS = {
    "train": ["a b c", "b b d e", "a", "c d e f a b", "f f", "d a"],
    "valid": ["b a", "c", "f e d c b a", "a a a a"],
    "test": ["a b c d e f", "b", "c c d", "e f a", "d"],
}
TINY = {
    "data": {"corpus": "grammar"},
    "run": {"device": "cpu"},
    "sentence_model": {"embedding": 6, "hidden": 6, "max_tokens": 6},
    "models": {"*": SMALL},
    "judge": {"train_sentences": 4, "valid_sentences": 2, "batch": 4, "valid_batch": 3},
    "evaluation": {
        "samples": 9,
        "sample_batch": 4,
        "annealed": {"sentences": 4, "chains": 2, "temperatures": 8, "simulated": 2},
    },
}


@pytest.fixture(scope="session")
def splits() -> dict[str, list[str]]:
    """The corpus."""
    return SPLITS


@pytest.fixture
def context(tmp_path: Path) -> Context:
    """The VAE of params.yaml on the sentences above; at most four words of them reach a model."""
    raw = tmp_path / "raw"
    raw.mkdir()
    for split, lines in SPLITS.items():
        (raw / f"{split}.txt").write_text("".join(f"{line}\n" for line in lines))
    tokenize(raw, tmp_path / "tokens", None)
    shipped = shipped_parameters()
    folders = [tmp_path / name for name in ("checkpoints", "out")]
    for folder in folders:
        folder.mkdir()
    settings = params.validate(params.merge(shipped, TINY), "params.yaml")
    corpus = Corpus.open(tmp_path / "tokens")
    return Context(settings, "vae", 3, corpus, torch.device("cpu"), NoTracker(), *folders)
