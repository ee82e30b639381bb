"""What a step left: a manifest with the hash of each file, and how it comes to its place.

And a memory of hashes that is quick.
"""

import hashlib
import json
import os
import re
import shutil
import time
from pathlib import Path, PurePosixPath
from typing import Any

from ldebm.errors import UserError

MANIFEST = "manifest.json"
HASH = re.compile(r"[0-9a-f]{64}")
ABSENT = "absent"  # in place of the hash of what is no file
RACE = 1_000_000_000  # ns; a file this young may change again and keep its times


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest of an output folder, or None where there is none.

    Raises:
        UserError: it is no manifest, or names files outside the folder. Nothing it says is
            followed.

    """
    path = folder / MANIFEST
    manifest = _read_json(path)
    if manifest is None:
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
    try:
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _read_json(path: Path) -> Any:
    """What a file holds, or None where there is no JSON.

    Raises OSError where there may be: where it may not, or cannot, be read.
    """
    try:
        return json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, ValueError, RecursionError):
        return None


def file_hash(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Hashes:
    """SHA-256 of files, remembered with their size, times and inode, as git's index does it."""

    def __init__(self, home: Path) -> None:
        self.file, self.changed = home / "hashes.json", False
        known = _read_json(self.file)
        self.known: dict[str, Any] = known if isinstance(known, dict) else {}

    def match(self, folder: Path, outputs: dict[str, str]) -> bool:
        """Whether the files of a folder are, byte for byte, those of a manifest."""
        return all(self.of(folder / name) == digest for name, digest in outputs.items())

    def of(self, path: Path) -> str:
        """The hash of a file, or ABSENT."""
        if not path.is_file():
            return ABSENT
        status = path.stat()
        seen = [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]
        known = self.known.get(str(path))
        if not isinstance(known, list) or known[1:] != seen:
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


def intact(folder: Path, fingerprint: str, hashes: Hashes) -> bool:
    """Whether a folder holds the outputs that belong to a fingerprint, byte for byte."""
    manifest = read_manifest(folder)
    if manifest is None or manifest["fingerprint"] != fingerprint:
        return False
    return hashes.match(folder, manifest["outputs"])


def publish(done: Path, output: Path) -> None:
    """Put finished files in place one by one, each whole, the manifest last; former ones go."""
    manifest = read_manifest(done)
    assert manifest is not None
    present = read_manifest(output) or {"outputs": {}}
    if present.get("step", manifest["step"]) != manifest["step"]:
        raise UserError(
            f"{output}: holds what `{present['step']}` made, and {manifest['step']} would replace "
            "it; name another folder"
        )
    before = present["outputs"]
    for name in manifest["outputs"]:
        target = output / name
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.new")
        temporary.unlink(missing_ok=True)
        _link(done / name, temporary)
        os.replace(temporary, target)
        temporary.unlink(missing_ok=True)  # replacing a file by a link to itself does nothing
    for name in before.keys() - manifest["outputs"].keys():
        (output / name).unlink(missing_ok=True)
    output.mkdir(parents=True, exist_ok=True)
    write_manifest(output, manifest)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without hard links, or another one
        try:
            shutil.copyfile(source, target)
        except BaseException:
            target.unlink(missing_ok=True)
            raise


def touch(folder: Path, now: int | None = None) -> None:
    """Make a step's outputs newer than its inputs: engines that compare times are then content."""
    moment = time.time_ns() if now is None else now
    for name in (*(read_manifest(folder) or {"outputs": {}})["outputs"], MANIFEST):
        os.utime(folder / name, ns=(moment, moment))
