"""The memory of hashes: quick where nothing changed, right where anything did."""

import errno
import hashlib
import os
from pathlib import Path

import pytest

from ldebm.pipeline import manifest
from ldebm.pipeline.manifest import Hashes, read_manifest


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files whose bytes are read; a file may be trusted however young it is."""
    calls: list[Path] = []
    whole = manifest.file_hash
    monkeypatch.setattr(manifest, "file_hash", lambda path: calls.append(path) or whole(path))
    monkeypatch.setattr(manifest, "RACE", 0)
    return calls


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_an_unchanged_file_is_read_once_and_remembered(tmp_path: Path, read: list[Path]) -> None:
    path = tmp_path / "file"
    path.write_text("a")
    hashes = Hashes(tmp_path)
    assert hashes.of(path) == hashes.of(path) == sha256("a")
    hashes.save()
    assert Hashes(tmp_path).of(path) == sha256("a")
    assert read == [path]


def test_a_changed_file_is_read_again(tmp_path: Path, read: list[Path]) -> None:
    """Another length; the same length at another time; another file put in its place."""
    path, other = tmp_path / "file", tmp_path / "other"
    path.write_text("a")
    hashes = Hashes(tmp_path)
    assert hashes.of(path) == sha256("a")
    path.write_text("bc")
    assert hashes.of(path) == sha256("bc")
    path.write_text("de")
    os.utime(path, ns=(1, 1))
    assert hashes.of(path) == sha256("de")
    other.write_text("fg")
    os.utime(other, ns=(1, 1))
    os.replace(other, path)
    assert hashes.of(path) == sha256("fg")


def test_a_young_file_is_not_trusted(tmp_path: Path) -> None:
    """It may change again within the resolution of the clock."""
    path = tmp_path / "file"
    path.write_text("a")
    hashes = Hashes(tmp_path)
    assert hashes.of(path) == sha256("a")
    assert hashes.known == {}


def test_a_manifest_that_cannot_be_read_is_not_taken_for_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(path: Path) -> bytes:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    assert read_manifest(tmp_path) is None
    monkeypatch.setattr(Path, "read_bytes", refused)
    with pytest.raises(PermissionError):
        read_manifest(tmp_path)
