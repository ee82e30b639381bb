"""Where runs are recorded, what waits to be sent there, and how it is named in messages."""

import fcntl
import os
import re
from pathlib import Path
from urllib.parse import unquote

from ldebm.errors import UserError


def store_uri() -> str:
    """The store that the environment names, or the project's own."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{project_folder() / 'mlflow.db'}"


def redacted(text: str) -> str:
    """A text without what addresses hold besides hosts and paths.

    Users, passwords, query parameters.
    """
    for secret in re.findall(r"://(.*)@", os.environ.get("MLFLOW_TRACKING_URI", "")):
        password = secret.partition(":")[2]
        # where an address is malformed, parts of a password are taken for hosts, ports or paths
        parts = {secret, password, unquote(password), *re.split("[:/@]", password)}
        for part in sorted(parts, key=len, reverse=True):
            text = text.replace(part, "***") if len(part) > 1 else text
    text = re.sub(r"(\w://)[^/\s@]*@", r"\1***@", text)
    return re.sub(r"(\w://[^\s?]*)\?[^\s;)]*", r"\1?***", text)


def project_folder() -> Path:
    """Where the store is: the working directory, or the project a temporary copy of which DVC works
    in.
    """
    root = Path(os.environ.get("DVC_ROOT") or ".").resolve()
    if not root.is_dir():
        raise UserError(f"DVC_ROOT={root} is no folder; unset it")
    return root


def journals() -> Path:
    """Where journals wait until they are sent."""
    return project_folder() / "work/tracking"


def files_of(journal: Path) -> Path:
    """Where the files are kept that a journal names."""
    return journal.with_suffix(".files")


def lock_of(folder: Path, sender: str) -> Path:
    """The file that a sender of journals in a folder keeps locked as long as it lives."""
    return folder / f"{sender}.sender"


def lives(folder: Path, sender: str) -> bool:
    """Whether there is such a sender; what one left that was killed is removed."""
    path = lock_of(folder, sender)
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # two that ask do not meet
            path.unlink(missing_ok=True)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def store_fails(reason: str) -> str:
    """The beginning of a line about a store that cannot be used."""
    return f"the tracking store {redacted(store_uri())} fails ({redacted(reason)})"
