"""Reading text a sentence at a time, and outputs that appear whole or not at all."""

import json
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ldebm.errors import UserError

# control characters but white space; a carriage return or a byte-order mark within a line
UNFIT = re.compile("[\x00-\x08\r\x0e-\x1b\x7f-\x84\x86-\x9f\ufeff]")
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

    A byte-order mark at the start is left out. Raises UserError for a file that cannot be read, and
    with the number of the line for bytes that are not UTF-8 and characters that no word has.
    """
    if path.exists() and not path.is_file():  # a pipe would be waited for, a device never ends
        raise UserError(f"cannot read {path}: it is no regular file")
    try:
        with path.open("rb") as file:
            yield from decoded(file, str(path))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error


def decoded(lines: Iterable[bytes], name: str) -> Iterator[tuple[int, str]]:
    """`read_text` of lines that are open already; `name` stands for them in messages."""
    for number, line in enumerate(lines, start=1):  # each alone: a mistake is given its line
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise UserError(f"{name}, line {number}: not UTF-8; convert it to UTF-8") from error
        if unfit := UNFIT.search(text):
            raise UserError(
                f"{name}, line {number}: holds the character {unfit[0]!r}; remove it, and let "
                "lines end with \\n or \\r\\n"
            )
        yield number, text


def read_lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """`read_text`, each line as its words; of a blank one []."""
    return ((number, line.split()) for number, line in read_text(path))


def read_sentences(path: Path) -> Iterator[list[str]]:
    """The words of each line that is not blank; streams. Raises UserError as `read_lines` does."""
    return (words for _, words in read_lines(path) if words)


def run_folder(root: Path, kind: str, model: str, seed: int | None) -> Path:
    """Where a verb leaves what it made for a model and a seed."""
    return root / kind / model / f"seed{seed}"
