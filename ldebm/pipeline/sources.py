"""Which source a step depends on: whole modules, those that imports reach from its entry modules.

Read off the syntax trees, so nothing is run. Comments, layout and docstrings do not count.
"""

import ast
import hashlib
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from ldebm.errors import UserError

PACKAGE = Path(__file__).parents[1]
NOT_FOLLOWED = frozenset(
    f"ldebm.{name}"
    for name in (
        *("config", "params", "rows", "outside"),  # what they hold reaches a step as parameters
        *("cli", "errors", "training.console", "runtime.console", "runtime.tracking"),  # no output
        "runtime.provenance",  # a record of the code, not a part of it
    )
)

Place = tuple[Path, Path | None]  # a file, and the folder of a user's own that it was found in


def source_hash(entries: Iterable[str]) -> str:
    """SHA-256 of all source that is reached from `entries`, each a module's name or a file's."""
    texts = sorted(f"{place[0].name}\n{_read(place)[0]}" for place in reached(entries))
    return hashlib.sha256("\n\n".join(texts).encode()).hexdigest()


def reached(entries: Iterable[str]) -> set[Place]:
    """The files that have a part in `source_hash`.

    Modules in NOT_FOLLOWED count only as entries. Of a user's own `FILE.py`, what it imports from
    its own folder counts.

    Raises:
        UserError: a file is not there, or is no Python.
    """
    found: set[Place] = set()
    pending = [_find(name, None) or (Path(name), Path(name).parent) for name in entries]
    while pending:
        place = pending.pop()
        if place not in found:
            found.add(place)
            pending += _read(place)[1]
    return found


def _read(place: Place) -> tuple[str, list[Place]]:
    path, home = place
    try:
        text = path.read_text(encoding="utf-8")
        return _parse(text, path, home) if path.suffix == ".py" else (text, [])
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise UserError(f"{path}: cannot be read as source ({error})") from None


@cache
def _parse(text: str, path: Path, home: Path | None) -> tuple[str, list[Place]]:
    """A module's text without what does not count, and the files that it names."""
    tree = ast.parse(text)
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in (node for node in ast.walk(tree) if isinstance(node, kinds)):
        if ast.get_docstring(node, clean=False) is not None:
            node.body[0] = ast.Pass()
    nodes = list(ast.walk(tree))  # what is left
    named = [*_imports(nodes, path, home), *_files(nodes, path, home)]
    return ast.unparse(tree), named


def _imports(nodes: Iterable[ast.AST], path: Path, home: Path | None) -> Iterator[Place]:
    names: list[str] = []
    for node in nodes:
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            root = home or PACKAGE.parent
            above = path.parents[node.level - 1].relative_to(root).parts if node.level else ()
            origin = ".".join([*above, *filter(None, [node.module])])
            full = [f"{origin}.{alias.name}" for alias in node.names]
            names += [name if _find(name, home) else origin for name in full]
    yield from filter(None, (_find(name, home) for name in names if name not in NOT_FOLLOWED))


def _files(nodes: Iterable[ast.AST], path: Path, home: Path | None) -> Iterator[Place]:
    """Other files beside a module, named in strings."""
    for node in nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            name = node.value if len(node.value) < 100 and node.value.isprintable() else ""
            plain = "/" not in name and not name.endswith(".py")
            if plain and (path.parent / name).is_file():
                yield path.parent / name, home


def _find(name: str, home: Path | None) -> Place | None:
    """The module called `name`: of this package, or in the folder of a user's file."""
    own = name.partition(".")[0] == PACKAGE.name
    base = PACKAGE.parent if own else home
    if base is None:
        return None
    path = base.joinpath(*name.split("."))
    files = (path.with_name(f"{path.name}.py"), path / "__init__.py")
    return next(((file, None if own else home) for file in files if file.is_file()), None)
