"""Which edits make a step's work stale, on a small package that stands in for this one."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ldebm.pipeline import sources

PACKAGE = {
    "__init__.py": "",
    "work.py": '''
"""Entry."""
from ldebm import parts, zoo
from ldebm.helpers import used
from ldebm.config import Params

SCALE = 2

def train(params: Params) -> int:
    """Train."""
    from ldebm.inner import late
    # why
    return used(SCALE) + late.value() + zoo.MODELS

def other() -> int:
    return 1
''',
    "helpers.py": "import math\n\ndef used(x):\n    return indirect(x)\n\ndef indirect(x):\n    return x\n\ndef unused(x):\n    return x\n",
    "inner/__init__.py": "",
    "inner/late.py": 'DATA = "table.txt"\n\ndef value():\n    return len(DATA)\n',
    "inner/table.txt": "a\n",
    "params.py": "class Params: ...\n",
    "parts.py": '_MODULES = ("ldebm.first", "ldebm.second")\n\ndef __getattr__(name):\n    ...\n',
    "first.py": "class Gaussian:\n    pass\n\nclass Mixture:\n    pass\n",
    "second.py": "class Energy:\n    pass\n",
    "zoo.py": """
from ldebm import parts

def row(name):
    ...

@row("A")
def a():
    return shared(parts.Gaussian())

@row("B")
def b():
    return parts.Energy()

def shared(prior):
    return prior
""",
}
ENTRIES = ["ldebm.work:train", "ldebm.zoo:a"]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "ldebm"
    for name, text in PACKAGE.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    monkeypatch.setattr(sources, "PACKAGE", folder)
    sources.find.cache_clear()
    yield folder
    sources.find.cache_clear()


def edited_hash(package: Path, file: str, old: str, new: str) -> str:
    path = package / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    sources.find.cache_clear()
    return sources.source_hash(ENTRIES)


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("work.py", "SCALE = 2", "SCALE = 3"),
        ("work.py", "+ late", "- late"),
        ("helpers.py", "    return indirect(x)", "    return indirect(x) + 1"),
        ("helpers.py", "def indirect(x):\n    return x", "def indirect(x):\n    return -x"),
        ("helpers.py", "import math", "print('on import')"),
        ("inner/late.py", "len(DATA)", "len(DATA) + 1"),
        ("inner/table.txt", "a", "b"),
        ("zoo.py", "shared(parts.Gaussian())", "parts.Gaussian()"),
        ("zoo.py", "    return prior", "    return [prior]"),
        ("first.py", "class Gaussian:\n    pass", "class Gaussian:\n    x = 1"),
    ],
)
def test_edits_that_a_step_can_reach_change_its_hash(
    package: Path, file: str, old: str, new: str
) -> None:
    before = sources.source_hash(ENTRIES)
    assert edited_hash(package, file, old, new) != before


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("work.py", "    # why\n", "    # because\n\n"),
        ("work.py", '"""Train."""', '"""Train a model."""'),
        ("work.py", '"""Entry."""', '"""Entry point.\n\nLonger.\n"""'),
        ("work.py", "def other() -> int:\n    return 1", "def other() -> int:\n    return 2"),
        ("helpers.py", "def unused(x):\n    return x", "def unused(x):\n    return -x"),
        ("zoo.py", "parts.Energy()", "parts.Energy(2)"),
        ("zoo.py", '@row("A")', '@row("A, renamed")'),
        ("zoo.py", "def shared", "def added():\n    return 1\n\n\ndef shared"),
        ("first.py", "class Mixture:\n    pass", "class Mixture:\n    x = 1"),
        ("second.py", "    pass", "    x = 1"),
        ("params.py", "...", "added: int"),
    ],
)
def test_edits_out_of_its_reach_do_not(package: Path, file: str, old: str, new: str) -> None:
    before = sources.source_hash(ENTRIES)
    assert edited_hash(package, file, old, new) == before


def test_the_judge_does_not_depend_on_the_models() -> None:
    """On this package itself: hours of judging outlive a change of a prior, and training depends on its own prior."""
    reached = {
        entry: sources.reached([entry])
        for entry in ("ldebm.evaluation.judging:judge", "ldebm.rows.autoencoder")
    }
    assert "ldebm.metrics.reverse_perplexity" in reached["ldebm.evaluation.judging:judge"]
    assert "ldebm.models.priors" not in reached["ldebm.evaluation.judging:judge"]
    assert "ldebm.models.priors" in reached["ldebm.rows.autoencoder"]
