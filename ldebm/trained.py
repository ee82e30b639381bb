"""A trained model as an object: opened from its folder, asked in sentences or vectors.

The folder that training writes stands alone: model.safetensors, run.json, vocabulary.txt, and
README.md, a card made from the other two.
"""

import json
import operator
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import Tensor

from ldebm import rows
from ldebm.config import AnnealedSettings, SentenceSettings
from ldebm.data.batches import collate
from ldebm.data.corpus import Split
from ldebm.data.tokenizer import words_of
from ldebm.data.vocabulary import UNK, Vocabulary
from ldebm.errors import UserError
from ldebm.evaluation import nll
from ldebm.evaluation.inference import posterior_modes, symbol_probs
from ldebm.evaluation.likelihood import exact, importance_sampled
from ldebm.evaluation.symbols import Symbol, describe_symbols
from ldebm.models.networks import SentenceSize
from ldebm.models.sentence import SentenceModel, sentence_generator
from ldebm.outside import is_outside
from ldebm.pipeline.manifest import MANIFEST, file_hash, read_manifest
from ldebm.runtime import checkpoint
from ldebm.runtime import device as devices
from ldebm.runtime.logged import RUN, fetched
from ldebm.training.card import RECORD, VOCABULARY, describe

Array = NDArray[Any]
Sentence = str | Array  # words between spaces, or word ids (n,)
Sentences = Sentence | Sequence[Sentence]
Value = int | tuple[int, int]  # a symbol, or a variable of a code and its value
WEIGHTS = "model.safetensors"
EMPTY = np.empty(0, np.int64)  # the sentence without a word
DRAWN = 500  # sentences that are drawn or decoded at once


class TrainedModel:
    """A trained row of the table.

    A sentence is a string, which is tokenised as the corpus was (words between spaces, unless it
    had a tokenizer), or an array of word ids (n,); alone or in a sequence, and what is asked of one
    is answered for one. What is given as strings comes back as strings, arrays as arrays. A
    vector z has D entries: a Gaussian's or a point's latents, the M·K entries of a code, or the
    code and then the Gaussian.
    """

    def __init__(
        self, model: SentenceModel, vocabulary: Vocabulary, record: Mapping[str, Any]
    ) -> None:
        self.model, self.vocabulary, self.record = model.eval(), vocabulary, dict(record)
        self.max_tokens: int = record["sentence_model"]["max_tokens"]
        self.words = words_of(record["data"]["corpus"])
        self.device = next(model.parameters()).device

    @classmethod
    def from_pretrained(
        cls, folder: str | Path, *, device: str = "auto", row: str | None = None
    ) -> "TrainedModel":
        """The model in a folder that training or `save_pretrained` wrote.

        Args:
            folder: or `runs:/ID`, a run that MLflow has.
            device: auto, cpu or cuda.
            row: FILE.py:CLASS, for a row of one's own: code is run only where it is named here.

        Raises:
            UserError: a file is missing, damaged, or not the one that its training left.
        """
        if str(folder).startswith(RUN):
            with TemporaryDirectory() as work:
                found = fetched(str(folder), work)
                held = next((one.parent for one in sorted(found.rglob(RECORD))), found)
                return cls.from_pretrained(held, device=device, row=row)
        folder = Path(folder)
        record = read_record(folder)
        _check_whole(folder)
        vocabulary = Vocabulary.load(folder / VOCABULARY)
        model = _build(folder, record, len(vocabulary), row)
        path = folder / WEIGHTS
        checkpoint.restore_model(model, checkpoint.load(path)[0], path)
        where = devices.choose(device)
        devices.prepare(where)
        return cls(model.to(where), vocabulary, record)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write weights, record, vocabulary and card into a folder, for `from_pretrained`."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        step = {"step": self.record["kept_step"]}
        checkpoint.save(folder / WEIGHTS, checkpoint.model_tensors(self.model), step)
        describe(folder, self.record, self.vocabulary)

    @property
    def name(self) -> str:
        """The row's name in the table."""
        return str(self.record["row"])

    def encode(self, sentences: Sentences) -> Array:
        """The mode of q(z|x): (D,) of one sentence, (N, D) of several."""
        self._need(self.model.encoder is not None, "has no latent vector")
        found = posterior_modes(self, self.model, self._split(sentences))
        return found[0] if _is_one(sentences) else found

    def decode(self, vectors: Array | Tensor | Sequence[Sequence[float]]) -> Any:
        """Greedy sentences: of z (D,) a string, of (N, D) a list."""
        z = torch.as_tensor(np.asarray(vectors), dtype=torch.float32, device=self.device)
        width = self._width
        self._need(width > 0, "has no latent vector")
        if z.ndim not in (1, 2) or z.shape[-1] != width:
            raise UserError(
                f"{self.name} decodes vectors ({width},) or (N, {width}), not {tuple(z.shape)}"
            )
        decode, pieces = self.model.decoder.decode, z.reshape(-1, width).split(DRAWN)
        texts = [text for one in pieces for text in self._texts(decode(one, self.max_tokens))]
        return texts[0] if z.ndim == 1 else texts

    def reconstruct(self, sentences: Sentences) -> Any:
        """`decode(encode(sentences))`; of word ids, word ids."""
        texts = self.decode(np.atleast_2d(self.encode(sentences)))
        back = [
            text if isinstance(one, str) else self.vocabulary.encode(text.split())
            for one, text in zip(_listed(sentences), texts, strict=True)
        ]
        return back[0] if _is_one(sentences) else back

    def interpolate(self, start: str | Array, end: str | Array, steps: int = 7) -> Any:
        """`steps` points of the line from z of `start` to z of `end`, both included.

        Between sentences, given as strings, they are sentences, between vectors (D,) vectors
        (steps, D).
        """
        if steps < 2:
            raise UserError(f"an interpolation has at least 2 steps, not {steps}")
        weight = np.linspace(0, 1, steps)[:, None]
        return self._combine((start, end), lambda a, b: (1 - weight) * a + weight * b)

    def arithmetic(self, start: str | Array, minus: str | Array, plus: str | Array) -> Any:
        """`start` - `minus` + `plus` in z: of strings a sentence, of vectors (D,) a vector."""
        return self._combine((start, minus, plus), lambda a, b, c: a - b + c)

    def sample(self, n: int = 1, symbol: Value | None = None, seed: int = 1) -> list[str]:
        """`n` sentences of the model, or those of one symbol, or of (variable, value) of a code.

        Of a symbol y they are drawn by its own energy f_y, in the chain of SVEBM and at the last
        level of LDEBM; a code's variable, or a mixture's component, is fixed.
        """
        return list(self.samples(n, symbol, seed))

    def samples(self, n: int, symbol: Value | None = None, seed: int = 1) -> Iterator[str]:
        """`sample`, as they are drawn."""
        if n < 1:
            raise UserError(f"{n} sentences cannot be drawn; ask for 1 or more")
        prior = self.model.prior
        if symbol is not None:
            given = prior.given(*self._symbol(symbol))
            self._need(given is not None, "cannot be sampled by symbol")
            prior = given or prior
        generator = torch.Generator(self.device).manual_seed(seed)
        for start in range(0, n, DRAWN):
            count = min(DRAWN, n - start)
            yield from self._texts(self.model.sample(count, self.max_tokens, generator, prior))

    def classify(self, sentences: Sentences) -> Array:
        """p(y|z) at the mode of q(z|x), (N, K); of a code q(c|x), (N, M, K). One sentence: no N."""
        found = self._probs(self._split(sentences))
        found = found[:, 0] if found.shape[1] == 1 else found
        return found[0] if _is_one(sentences) else found

    def score(
        self, sentences: Sentences, samples: int = 500, temperatures: int = 500, seed: int = 1
    ) -> Any:
        """-log p(x) in nats, (N,), or a number of one sentence, by the row's sound estimator.

        Exact of a language model. Where p(z) has a density, by importance sampling, `samples` a
        sentence; of an energy, by annealed importance sampling over its sampler's noise, 8 chains
        of `temperatures` steps, which is slow: seconds to minutes a sentence. Both estimates are
        upper bounds in expectation.
        """
        if samples < 1:
            raise UserError(f"samples: {samples}; give 1 or more")
        estimate = exact if self.model.encoder is None else importance_sampled
        split = self._split(sentences)
        found = np.empty(len(split))
        for index in range(len(split)):
            batch = collate(split, np.array([index]), self.max_tokens, self.device)
            generator = sentence_generator(seed, index)
            with torch.no_grad():
                log_p = estimate(self.model, batch, samples, samples, generator)
            if log_p is None:
                found = self._annealed(split, temperatures, seed)
                break
            found[index] = -float(log_p)
        return float(found[0]) if _is_one(sentences) else found

    def _annealed(self, split: Split, temperatures: int, seed: int) -> Array:
        self._need(self.model.prior.generative, "has no p(z)")
        if temperatures < 8 or temperatures % 4:
            raise UserError(f"temperatures: {temperatures} is no multiple of 4 from 8 on")
        settings = AnnealedSettings(
            sentences=len(split), chains=8, temperatures=temperatures, simulated=1
        )
        every = np.arange(len(split))
        with TemporaryDirectory() as work:
            one = nll.estimate(
                self.model, split, every, self.max_tokens, settings, seed, Path(work)
            )  # fmt: skip
        if one.diagnostics["still_falling"]:
            warnings.warn("the estimates may still fall with more temperatures", stacklevel=3)
        return np.array([one.nll[index] for index in every.tolist()])

    def symbols(
        self, sentences: Sequence[str] | None = None, examples: int = 3, seed: int = 1
    ) -> list[Symbol]:
        """What every symbol, or every value of a code, stands for among sentences.

        Args:
            sentences: None: 1,000 of the model's own.
        """
        own = sentences is None
        texts = self.sample(1000, seed=seed) if sentences is None else list(sentences)
        most = self.max_tokens - 2 if own else None  # of its own: as much as it reads
        words = [self.words(text)[:most] for text in texts]
        probs = self._probs(self._split([" ".join(one) for one in words]))
        return describe_symbols(probs, texts, examples, words)

    def _need(self, has: bool, problem: str) -> None:
        if not has:
            raise UserError(f"{self.name} {problem}, so this cannot be asked of it")

    def _combine(self, given: Sequence[Any], combine: Callable[..., Array]) -> Any:
        """A combination of the vectors of sentences, decoded, or of vectors."""
        if all(isinstance(one, str) for one in given):
            return self.decode(combine(*self.encode(given)))
        self._need(self._width > 0, "has no latent vector")
        try:
            vectors = [np.asarray(one, np.float32) for one in given]
        except (TypeError, ValueError):
            vectors = []
        if {one.shape for one in vectors} != {(self._width,)}:
            raise UserError(f"give strings alone, or vectors ({self._width},) of {self.name} alone")
        return combine(*vectors).astype(np.float32)

    def _texts(self, ids: Tensor) -> list[str]:
        return [" ".join(self.vocabulary.decode(one)) for one in ids.tolist()]

    def _probs(self, split: Split) -> Array:
        """(N, M, K), of symbols M = 1."""
        probs = symbol_probs(self, self.model, split)
        if probs is None:
            raise UserError(f"{self.name} has neither symbols nor a code to ask for")
        return probs

    def _split(self, sentences: Sentences) -> Split:
        """Word ids of the sentences; warns of words that are not known and of those cut off."""
        known, most = self.vocabulary.ids, self.max_tokens - 2
        unknown: Counter[str] = Counter()
        ids = []
        for sentence in _listed(sentences):
            if isinstance(sentence, str):
                words = self.words(sentence)
                unknown.update(word for word in words if word not in known)
                ids.append(self.vocabulary.encode(words))
            else:
                ids.append(self._ids(sentence))
        if unknown:
            shown = ", ".join(list(unknown)[:10])
            warnings.warn(f"read as {UNK}, not being in the vocabulary: {shown}", stacklevel=4)
        if long := sum(len(one) > most for one in ids):
            warnings.warn(f"cut to their first {most} words: {long} of the sentences", stacklevel=4)
        return Split(np.concatenate(ids), np.cumsum([0, *map(len, ids)]))

    def _ids(self, sentence: Any) -> Array:
        """Word ids, checked."""
        ids, words = np.asarray(sentence), len(self.vocabulary)
        if ids.ndim != 1 or (ids.dtype.kind not in "iu" and ids.size):
            raise UserError(f"{sentence!r} is no sentence; give a string, or word ids as an array")
        if wrong := ids[(ids < 0) | (ids >= words)].tolist():
            raise UserError(f"{wrong[0]} is no word of {self.name}; ids are 0 to {words - 1}")
        return ids.astype(np.int64)

    @cached_property
    def _width(self) -> int:
        return int(posterior_modes(self, self.model, self._split([EMPTY])).shape[1])

    def _symbol(self, symbol: Value) -> tuple[int, int]:
        """(variable, value), checked."""
        _, variables, values = self._probs(self._split([EMPTY])).shape
        asked = symbol if isinstance(symbol, tuple) else (0, symbol)
        try:
            variable, value = map(operator.index, asked)
        except (TypeError, ValueError):
            raise UserError(
                f"{symbol!r} is no symbol; give a number, or (variable, value) of a code"
            ) from None
        if not isinstance(symbol, tuple) and variables > 1:
            raise UserError(
                f"{self.name} has a code of {variables} variables; name one with its value, "
                f"variable:value, not {symbol}"
            )
        if not (0 <= variable < variables and 0 <= value < values):
            several = f"variables 0 to {variables - 1} of " if variables > 1 else ""
            raise UserError(f"{self.name} has {several}values 0 to {values - 1}, not {symbol}")
        return variable, value


def read_record(folder: Path) -> dict[str, Any]:
    """The record of the run that a folder's model came from."""
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        whole = {"model", "row", "parameters", "sentence_model", "data"} <= record.keys()
        whole &= {"row"} <= record["parameters"].keys()
        whole &= {"max_tokens"} <= record["sentence_model"].keys()
    except OSError as error:
        raise UserError(
            f"{folder / RECORD}: cannot be read ({error.strerror}); a trained model is a folder "
            "models/KEY/seedN that `ldebm train KEY` writes"
        ) from None
    except (ValueError, AttributeError, KeyError, TypeError, RecursionError):
        whole = False
    if not whole:
        raise UserError(f"{folder / RECORD}: not what this version of ldebm writes; train it again")
    return record


def _check_whole(folder: Path) -> None:
    """See that the files are those of the manifest that training left beside them, if it did."""
    outputs = (read_manifest(folder) or {"outputs": {}})["outputs"]
    for name in (WEIGHTS, RECORD, VOCABULARY):
        path = folder / name
        if name in outputs and path.is_file() and file_hash(path) != outputs[name]:
            raise UserError(
                f"{path}: is damaged, not what {MANIFEST} beside it says; take it anew, or delete "
                "that where the change is meant"
            )


def _build(folder: Path, record: Mapping[str, Any], words: int, row: str | None) -> SentenceModel:
    """The model that a record describes, with fresh weights."""
    named = record["parameters"]["row"]
    if is_outside(named) and row is None:
        raise UserError(
            f"{folder}: its row is code of a user's own, {named}; where you trust it, name it: "
            f"row={named!r}, or --row in the shell"
        )
    try:
        config = rows.find(row or named).model_validate(
            {**record["parameters"], "row": row or named}
        )
        one = SentenceSettings.model_validate(record["sentence_model"])
    except ValidationError as error:
        raise UserError(
            f"{folder / RECORD}: {error.errors()[0]['msg']} ({error.errors()[0]['loc']}); "
            "it is damaged or of another version"
        ) from None
    return config.build(SentenceSize(words, one.embedding, one.hidden, one.dropout))


def _listed(sentences: Sentences) -> list[Sentence]:
    if isinstance(sentences, str):
        return [sentences]
    listed: list[Sentence] = [np.asarray(sentences)] if _is_one(sentences) else list(sentences)
    if not listed:
        raise UserError("no sentence is given; give one or more")
    return listed


def _is_one(sentences: Any) -> bool:
    """Whether this is a string or an array of word ids, and no sequence of them."""
    return isinstance(sentences, str) or (isinstance(sentences, np.ndarray) and sentences.ndim == 1)
