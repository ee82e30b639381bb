"""Which edits make a step's work stale, on a small package that stands in for this one."""

from pathlib import Path

import pytest

from ldebm.errors import UserError
from ldebm.pipeline import sources

PACKAGE = {
    "__init__.py": "",
    "work.py": '''
"""Entry."""
from ldebm import parts, rows
from ldebm.helpers import used
from ldebm.config import Params

SCALE = 2

def train(params: Params) -> int:
    """Train."""
    from ldebm.inner import late
    # why
    return used(SCALE) + late.value() + """
    # no comment
"""
''',
    "helpers.py": "import math\nfrom .deeper import indirect\n\ndef used(x):\n    return "
    "indirect(x)\n",
    "deeper.py": "def indirect(x):\n    return x\n",
    "inner/__init__.py": "raise ImportError('not run by reading')\n",
    "inner/late.py": 'DATA = "table.txt"\n\ndef value():\n    return len(DATA)\n',
    "inner/table.txt": "a\n",
    "config.py": "class Params: ...\n",
    "parts.py": "from ldebm.first import *\n",
    "first.py": "class Gaussian:\n    pass\n",
    "second.py": "class Energy:\n    pass\n",
    "rows/__init__.py": "from ldebm.rows import a, b\n",
    "rows/a.py": "def build():\n    from ldebm import first\n    return first.Gaussian()\n",
    "rows/b.py": "def build():\n    from ldebm import second\n    return second.Energy()\n",
}
OWN = {
    "row.py": "import kept.part\nimport torch\nfrom ldebm.second import Energy\n",
    "kept/__init__.py": "",
    "kept/part.py": "from . import near\n",
    "kept/near.py": "A = 1\n",
    "apart.py": "A = 1\n",
}
ENTRIES = ["ldebm.work", "ldebm.rows.a"]


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = write(tmp_path / "ldebm", PACKAGE)
    monkeypatch.setattr(sources, "PACKAGE", folder)
    return folder


def changes(file: Path, old: str, new: str, entries: list[str]) -> bool:
    """Whether an edit changes the hash."""
    before, text = sources.source_hash(entries), file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
    return sources.source_hash(entries) != before


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("work.py", "SCALE = 2", "SCALE = 3"),
        ("work.py", "+ late", "- late"),
        ("work.py", "# no comment", "# text"),
        ("helpers.py", "return indirect(x)", "return indirect(x) + 1"),
        ("helpers.py", "import math", "print('on import')"),
        ("deeper.py", "return x", "return -x"),
        ("inner/late.py", "len(DATA)", "len(DATA) + 1"),
        ("inner/table.txt", "a", "b"),
        ("rows/a.py", "first.Gaussian()", "[first.Gaussian()]"),
        ("first.py", "    pass", "    x = 1"),
        ("parts.py", "import *", "import Gaussian"),
    ],
)
def test_edits_that_a_step_can_reach_change_its_hash(
    package: Path, file: str, old: str, new: str
) -> None:
    assert changes(package / file, old, new, ENTRIES)


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("work.py", "    # why\n", "    # because\n\n"),
        ("work.py", '"""Train."""', '"""Train a model."""'),
        ("work.py", '"""Entry."""', '"""Entry point.\n\nLonger.\n"""'),
        ("rows/__init__.py", "a, b", "a, b, c"),
        ("rows/b.py", "second.Energy()", "second.Energy(2)"),
        ("second.py", "    pass", "    x = 1"),
        ("config.py", "...", "added: int"),
    ],
)
def test_edits_out_of_its_reach_do_not(package: Path, file: str, old: str, new: str) -> None:
    assert not changes(package / file, old, new, ENTRIES)


@pytest.mark.parametrize(
    ("file", "counts"),
    [("row.py", True), ("kept/part.py", True), ("kept/near.py", True), ("apart.py", False)],
)
def test_code_outside_the_package_counts_with_what_it_imports_from_its_folder(
    package: Path, tmp_path: Path, file: str, counts: bool
) -> None:
    own = write(tmp_path / "own", OWN)
    entries = ["ldebm.helpers", str(own / "row.py")]
    text = (own / file).read_text()
    assert changes(own / file, text, f"{text}B = 2\n", entries) is counts
    assert changes(package / "second.py", "    pass", "    x = 1", entries)


def test_an_outside_file_that_is_gone_or_no_python_is_one_line(package: Path) -> None:
    broken = package / "broken.py"
    for prepare in (lambda: None, lambda: broken.write_text("def")):
        prepare()
        with pytest.raises(UserError, match=r"broken\.py: cannot be read as source"):
            sources.source_hash([str(broken)])


def test_the_judge_does_not_depend_on_the_models() -> None:
    """On this package itself: hours of judging outlive a change of a prior, training does not."""

    def modules(entry: str) -> set[str]:
        files = (path for path, _ in sources.reached([entry]))
        return {file.relative_to(sources.PACKAGE).as_posix() for file in files}

    judge, row = modules("ldebm.evaluation.judging"), modules("ldebm.rows.autoencoder")
    assert {"metrics/reverse_perplexity.py", "metrics/awd_lstm.py", "runtime/device.py"} <= judge
    assert not {name for name in judge if name.startswith(("models/", "rows/", "build"))}
    assert "models/priors.py" in row
    assert "report/published.csv" in modules("ldebm.report.write")
