"""Code of a user's own, named in the parameters as `FILE.py:NAME`.

A row, a metric, a preprocessing.
"""

import hashlib
import importlib.util
import sys
from pathlib import Path
from typing import Any

from ldebm.errors import UserError


def is_outside(name: str) -> bool:
    """Whether a name in the parameters points to a file: `FILE.py:NAME`."""
    return file_of(name).endswith(".py")


def file_of(name: str) -> str:
    """The file of `FILE.py:NAME`."""
    return name.partition(":")[0]


def load_object(name: str) -> Any:
    """What `FILE.py:NAME` names; the file is run once, and again when its content has changed.

    Its own folder is importable meanwhile; what it imports from there is no other file's.

    Raises:
        UserError: the file is missing, fails when it is run, or defines no such name.
    """
    file, _, attribute = name.partition(":")
    module = _load_file(Path(file))
    if not attribute or not hasattr(module, attribute):
        raise UserError(f"{name}: {file} defines no {attribute or 'name after the colon'!r}")
    return getattr(module, attribute)


def _load_file(path: Path) -> Any:
    if not path.is_file():
        raise UserError(f"{path}: is no Python file; paths count from the current folder")
    resolved = path.resolve()
    content = hashlib.sha256(bytes(resolved) + resolved.read_bytes()).hexdigest()
    name = f"{path.stem}_{content[:8]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, resolved)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    before = set(sys.modules)
    sys.path.insert(0, str(resolved.parent))
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise UserError(f"{path}: fails when it is run: {type(error).__name__}: {error}") from error
    finally:
        sys.path.remove(str(resolved.parent))
        for helper in sys.modules.keys() - before:
            if _lies_in(resolved.parent, helper):
                del sys.modules[helper]
    return module


def _lies_in(folder: Path, name: str) -> bool:
    """Whether a module is a file of the folder, or in a package there, of a user's own."""
    top, file = name.partition(".")[0], getattr(sys.modules[name], "__file__", None)
    if file is None or top == __package__:
        return False
    path = Path(file).resolve()
    return path == folder / f"{top}.py" or folder / top in path.parents
