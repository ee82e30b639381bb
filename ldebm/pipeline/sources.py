"""Which source text a step depends on: the definitions of this package that can be reached from its entry point.

Read off the syntax trees, so nothing is imported. Comments on their own line, blank lines and docstrings do not count.
"""

import ast
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

PACKAGE = Path(__file__).parents[1]

# What these modules hold reaches a step as parameters, or has no influence on its outputs.
NOT_FOLLOWED = frozenset(
    f"ldebm.{name}"
    for name in (
        *(
            "zoo",
            "rows",
            "config",
            "params",
            "outside",
            "pipeline.project",
            "pipeline.steps",
            "pipeline.sources",
            "runtime.tracking",
        ),
        *("cli", "errors", "runtime.provenance", "training.console"),
    )
)

Statements = list[ast.stmt]


@dataclass(frozen=True)
class Reference:
    """A definition in a module of this package, or with `name` None the whole module."""

    module: str
    name: str | None = None


class Module:
    """The syntax tree of a module: its definitions, the names it imports from this package, and statements that act on import."""

    def __init__(self, name: str, path: Path) -> None:
        self.name, self.path = name, path
        self.lines = path.read_text(encoding="utf-8").splitlines()
        self.tree = ast.parse("\n".join(self.lines))
        self.definitions: dict[str, Statements] = {}
        self.effects: Statements = []
        for statement in self.tree.body:
            names = _defined_names(statement)
            for defined in names:
                self.definitions.setdefault(defined, []).append(statement)
            if (
                not names
                and not isinstance(statement, ast.Import | ast.ImportFrom)
                and not _is_docstring(statement)
            ):
                self.effects.append(statement)

    @cached_property
    def imports(self) -> dict[str, Reference]:
        """Names bound by imports anywhere in the file to something of this package."""
        found: dict[str, Reference] = {}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                found |= {
                    a.asname or a.name.partition(".")[0]: Reference(a.name)
                    for a in node.names
                    if find(a.name)
                }
            elif isinstance(node, ast.ImportFrom):
                origin = self._absolute(node)
                for alias in node.names:
                    if find(f"{origin}.{alias.name}"):
                        found[alias.asname or alias.name] = Reference(f"{origin}.{alias.name}")
                    elif find(origin):
                        found[alias.asname or alias.name] = Reference(
                            origin, alias.name if alias.name != "*" else None
                        )
        return found

    def _absolute(self, node: ast.ImportFrom) -> str:
        parents = (
            self.name.split(".") if self.path.name == "__init__.py" else self.name.split(".")[:-1]
        )
        base = parents[: len(parents) - node.level + 1] if node.level else []
        return ".".join([*base, *([node.module] if node.module else [])])

    def statements(self, name: str | None) -> Statements:
        """The statements that define `name`, and those that act on import; with None, all of them."""
        return self.tree.body if name is None else [*self.definitions.get(name, []), *self.effects]


@cache
def find(name: str) -> Module | None:
    """The module of this package called `name`, or None."""
    first, *rest = name.split(".")
    if first != PACKAGE.name:
        return None
    path = PACKAGE.joinpath(*rest)
    for candidate in (
        (path / "__init__.py", path.with_suffix(".py")) if rest else (path / "__init__.py",)
    ):
        if candidate.is_file():
            return Module(name, candidate)
    return None


def source_hash(entries: Iterable[str]) -> str:
    """SHA-256 of all source reached from `entries`, each `module:definition` or `module`.

    Entries themselves always count; from there only modules that are not in NOT_FOLLOWED are followed.
    """
    texts = {text for module, statement in _reached(entries) for text in _source(module, statement)}
    return hashlib.sha256("\n\n".join(sorted(texts)).encode()).hexdigest()


def reached(entries: Iterable[str]) -> set[str]:
    """The modules that have a part in `source_hash`."""
    return {module.name for module, _ in _reached(entries)}


def _reached(entries: Iterable[str]) -> Iterator[tuple[Module, ast.stmt]]:
    pending = [
        Reference(module, name or None)
        for module, _, name in (entry.partition(":") for entry in entries)
    ]
    seen: set[Reference] = set()
    while pending:
        reference = pending.pop()
        if reference in seen:
            continue
        seen.add(reference)
        module = find(reference.module)
        if module is None:
            raise LookupError(f"{reference.module} is no module of this package")
        resolved = _resolve(module, reference)
        if resolved.module != module.name:
            pending += [resolved] if resolved.module not in NOT_FOLLOWED else []
            continue
        for statement in module.statements(resolved.name):
            yield module, statement
            pending += (
                r
                for r in _references(module, statement)
                if r.module == module.name or r.module not in NOT_FOLLOWED
            )


def _source(module: Module, statement: ast.stmt) -> Iterator[str]:
    yield f"{module.name}\n{_text(module, statement)}"
    yield from _files(module, statement)


def _resolve(module: Module, reference: Reference) -> Reference:
    """Where a name that a module hands on is defined: its own text, an import, or a module that its `__getattr__` looks into."""
    name = reference.name
    if name is None or name in module.definitions:
        return reference
    if name in module.imports:
        return module.imports[name]
    for candidate in _named_modules(module.tree):
        if name in candidate.definitions or name in candidate.imports:
            return Reference(candidate.name, name)
    return Reference(module.name)


def _references(module: Module, statement: ast.stmt) -> Iterator[Reference]:
    """What of this package a statement names."""
    whole: set[str] = set()
    nodes = [node for part in _read_parts(module, statement) for node in ast.walk(part)]
    members = {id(node.value): node.attr for node in nodes if isinstance(node, ast.Attribute)}
    for node in nodes:
        if not isinstance(node, ast.Name):
            continue
        if node.id in module.definitions:
            yield Reference(module.name, node.id)
        elif (target := module.imports.get(node.id)) is not None:
            if target.name is None and id(node) in members:
                yield Reference(target.module, members[id(node)])
            elif target.name is None:
                whole.add(target.module)
            else:
                yield target
    yield from map(Reference, whole)
    yield from (Reference(named.name) for named in _named_modules(statement))


def _read_parts(module: Module, statement: ast.stmt) -> list[ast.AST]:
    """A statement without the decorators that merely label it: those of a module that is not followed."""
    if module.name not in NOT_FOLLOWED or not isinstance(statement, ast.FunctionDef):
        return [statement]
    return [statement.args, *statement.body]


def _text(module: Module, statement: ast.stmt) -> str:
    first = statement.lineno
    if isinstance(statement, ast.FunctionDef | ast.ClassDef) and module.name not in NOT_FOLLOWED:
        first = min([first, *(decorator.lineno for decorator in statement.decorator_list)])
    skipped: set[int] = set()
    for node in ast.walk(statement):
        if isinstance(
            node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
        ) and _is_docstring(node.body[0]):
            docstring = node.body[0]
            if docstring.lineno > node.lineno:
                skipped |= set(
                    range(docstring.lineno, (docstring.end_lineno or docstring.lineno) + 1)
                )
    lines = (
        module.lines[number - 1]
        for number in range(first, (statement.end_lineno or first) + 1)
        if number not in skipped
    )
    return "\n".join(line for line in lines if line.strip() and not line.lstrip().startswith("#"))


def _files(module: Module, statement: ast.stmt) -> Iterator[str]:
    """The text of data files beside the module that a statement names."""
    for name in _strings(statement):
        path = module.path.parent / name if name and len(name) < 100 and "\n" not in name else None
        if path is not None and path.is_file() and path.suffix != ".py":
            yield f"{path.name}\n{path.read_text(encoding='utf-8')}"


def _named_modules(node: ast.AST) -> Iterator[Module]:
    """Modules of this package whose full names stand in strings."""
    for text in _strings(node):
        module = find(text) if text.startswith(f"{PACKAGE.name}.") else None
        if module is not None:
            yield module


def _strings(node: ast.AST) -> Iterator[str]:
    return (
        child.value
        for child in ast.walk(node)
        if isinstance(child, ast.Constant) and isinstance(child.value, str)
    )


def _defined_names(statement: ast.stmt) -> list[str]:
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [statement.name]
    targets = (
        statement.targets
        if isinstance(statement, ast.Assign)
        else [statement.target]
        if isinstance(statement, ast.AnnAssign)
        else []
    )
    return [
        node.id
        for target in targets
        for node in ast.walk(target)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    ]


def _is_docstring(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )
