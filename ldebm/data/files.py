"""Reading text a sentence at a time, and outputs that appear whole or not at all."""

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ldebm.errors import UserError

REAL = "real"  # a model whose samples are the training text itself; it has nothing to train
FAILED = "failed.json"  # in place of what a step would have made of its model


@dataclass(frozen=True)
class Failure:
    """Why there is nothing of a model: the first step that failed, and the reason in one line."""

    step: str
    reason: str

    @classmethod
    def read(cls, folder: Path) -> "Failure | None":
        """What a step left in its output folder if its model failed."""
        path = folder / FAILED
        if not path.exists():
            return None
        try:
            return cls(**json.loads(path.read_bytes()))
        except (ValueError, TypeError):
            raise UserError(f"{path}: is damaged; delete it and run again") from None

    def write(self, folder: Path) -> None:
        """Leave it for those that come after."""
        write_json(folder / FAILED, asdict(self))


@contextmanager
def staged(out: Path) -> Iterator[Path]:
    """A temporary folder inside `out`.

    Its files move to `out` when the block succeeds and vanish when it fails.
    """
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".partial-", dir=out) as name:
        folder = Path(name)
        yield folder
        for file in sorted(folder.iterdir()):
            os.replace(file, out / file.name)


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write a mapping, indented for readers."""
    path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def read_text(path: Path) -> Iterator[tuple[int, str]]:
    """Line number (from 1) and text of each line, without its end; streams.

    Raises UserError for a file that cannot be read, and for bytes that are not UTF-8 with the
    number of their line.
    """
    try:
        with path.open("rb") as file:  # bytes, so that a decoding error can be given its line
            for number, line in enumerate(file, start=1):
                yield number, line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path}, line {number}: not UTF-8 text; convert the file to UTF-8"
        ) from error
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error


def read_lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """`read_text`, each line as its words; of a blank one []."""
    return ((number, line.split()) for number, line in read_text(path))


def read_sentences(path: Path) -> Iterator[list[str]]:
    """The words of each line that is not blank; streams. Raises UserError as `read_lines` does."""
    return (words for _, words in read_lines(path) if words)


def run_folder(root: Path, kind: str, model: str, seed: int | None) -> Path:
    """Where a verb leaves what it made for a model and a seed."""
    return root / kind / model / f"seed{seed}"
