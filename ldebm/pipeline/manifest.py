"""What a step left: a manifest with the hash of each file, and a memory of hashes that is quick."""

import hashlib
import json
import os
import re
import time
from pathlib import Path, PurePosixPath
from typing import Any

from ldebm.errors import UserError

MANIFEST = "manifest.json"
HASH = re.compile(r"[0-9a-f]{64}")
RACE = 1_000_000_000  # ns; a file this young may change again and keep its times


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest of an output folder, or None where there is none.

    Raises:
        UserError: it is no manifest, or names files outside the folder. Nothing it says is
            followed.

    """
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    outputs = manifest.get("outputs") if isinstance(manifest, dict) else None
    if not isinstance(outputs, dict) or not HASH.fullmatch(str(manifest.get("fingerprint"))):
        raise UserError(f"{path}: is no manifest of a step; delete it, and the step makes it anew")
    for name, digest in outputs.items():
        parts = PurePosixPath(name).parts
        inside = name.isprintable() and parts and parts[0] != "/" and ".." not in parts
        if not inside or not HASH.fullmatch(str(digest)):
            raise UserError(f"{path}: {name!r} is no output of a step; delete the manifest")
    return manifest


def write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    """Write a folder's manifest, whole or not at all."""
    write_whole(folder / MANIFEST, json.dumps(manifest, indent=1, ensure_ascii=False) + "\n")


def write_whole(path: Path, text: str) -> None:
    """Write a file, whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


def file_hash(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Hashes:
    """SHA-256 of files, remembered with their size, times and inode, as git's index does it."""

    def __init__(self, home: Path) -> None:
        self.file, self.changed = home / "hashes.json", False
        try:
            known = json.loads(self.file.read_bytes())
        except (OSError, ValueError):
            known = {}
        self.known: dict[str, list[Any]] = known if isinstance(known, dict) else {}

    def match(self, folder: Path, outputs: dict[str, str]) -> bool:
        """Whether the files of a folder are, byte for byte, those of a manifest."""
        return all(self.of(folder / name) == digest for name, digest in outputs.items())

    def of(self, path: Path) -> str:
        """The hash of a file, or of what is no file `absent`."""
        if not path.is_file():
            return "absent"
        status = path.stat()
        seen = [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]
        if self.known.get(str(path), [])[1:] != seen:
            self.known[str(path)] = [file_hash(path), *seen]
            self.changed = True
        digest = self.known[str(path)][0]
        if time.time_ns() - max(status.st_mtime_ns, status.st_ctime_ns) < RACE:
            del self.known[str(path)]
        return str(digest)

    def save(self) -> None:
        """Keep what was learned."""
        if self.changed:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            write_whole(self.file, json.dumps(self.known))
