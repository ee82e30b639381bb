"""The page's list of rooms is the order in which modules import one another."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "ldebm"


def rooms() -> dict[str, int]:
    """The floor of each room, 0 at the top."""
    page = (ROOT / "docs/architecture.md").read_text(encoding="utf-8").partition("## The rooms")[2]
    lines = [line for line in page.splitlines() if line.startswith("| `")]
    names = [re.findall(r"`([\w./]+)`", line.split("|")[1]) for line in lines]
    return {name.rstrip("/"): floor for floor, row in enumerate(names) for name in row}


def room(module: str) -> str:
    """ldebm.models.priors is in `models`, ldebm.build is `build.py`."""
    first = module.split(".")[1]
    return first if (PACKAGE / first).is_dir() else f"{first}.py"


def imported(tree: ast.Module) -> Iterator[str]:
    """Modules of the package that a module imports, but for its types alone."""
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ldebm"):
            whole = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from whole if node.module == "ldebm" else [str(node.module)]
        elif isinstance(node, ast.Import):
            yield from (one.name for one in node.names if one.name.startswith("ldebm."))


def test_imports_point_down_the_list() -> None:
    floors = rooms()
    upwards = []
    seen = set()
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        if name in ("ldebm.__init__", "ldebm.__main__"):
            continue
        seen.add(room(name))
        for other in imported(ast.parse(path.read_text(encoding="utf-8"))):
            here, there = room(name), room(other) if other != "ldebm.__version__" else "errors.py"
            if here != there and floors[here] >= floors[there]:
                upwards.append(f"{name} imports {other}")
    assert upwards == []
    assert seen == set(floors)
