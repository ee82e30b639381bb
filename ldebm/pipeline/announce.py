"""The first line of a pipeline run: where, and on a CPU roughly how long, the work will be done.

The time is arithmetic by formula over the speed of a matrix product, and what work of any size
costs besides, in passes of a small recurrent layer: both are measured on the spot.
"""

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from itertools import pairwise

from ldebm.config import EpochTraining, Params, TextFiles
from ldebm.params import sizes
from ldebm.pipeline.steps import Step
from ldebm.runtime import device as devices

WORD_TYPES = {"ptb": 10_000, "grammar": 220}
TOKENS = 22  # of a sentence
LATENT = 40
BACKWARDS = 2  # what gradients cost, in forward passes
REACHED = {"float32": 0.7, "bfloat16": 0.3}  # of a product's speed, by a training step
MEASURED = 0.3  # s

# What work costs however small it is, in passes of a small layer, from a run of the demo
START = 330.0  # a step of the pipeline
TRAINING = 4.0  # a step of a training
JUDGING = 0.3  # of the judge's
MOVE = 0.7  # a temperature
DECODING = 0.02  # a token
LANGEVIN = 0.07  # a step of a chain


def once(params: Params, stale: Sequence[Step], cores: int) -> None:
    """Print the line, but not again in the processes that this one starts."""
    if os.environ.setdefault("LDEBM_ANNOUNCED", str(os.getpid())) == str(os.getpid()):
        print(sentence(params, stale, cores), file=sys.stderr, flush=True)


def sentence(params: Params, stale: Sequence[Step], cores: int) -> str:
    """The line itself."""
    if devices.kind(params.run.device) == "cuda":
        return f"ldebm: on CUDA ({devices.describe(devices.choose(params.run.device))})"
    long = any(one.verb in _WORK for one in stale)
    hours = estimated_hours(params, stale, cores, product_speed, layer_pass) if long else 0.0
    rough = f"roughly {_span(hours)}" if hours > 0.05 else "minutes"
    spoken = f"{cores} core{'s' * (cores != 1)}"
    return f"ldebm: on the CPU ({spoken}), no GPU is used; what is left takes {rough}"


def estimated_hours(
    params: Params,
    stale: Sequence[Step],
    cores: int,
    speed: Callable[[str], float],
    small: Callable[[], float],
) -> float:
    """Roughly, the time that the steps without up-to-date outputs take together.

    Args:
        speed: of a matrix product on one core in a precision, operations a second.
        small: what a pass of a small layer takes, in seconds.
    """
    work = [
        (params.judge.precision if one.verb == "judge" else params.run.precision, one)
        for one in stale
        if one.verb in _WORK and one.key in (*params.models, "real")
    ]
    speeds = {name: speed(name) * REACHED[name] for name in dict.fromkeys(name for name, _ in work)}
    seconds, passes = 0.0, START * len(stale)
    for name, one in work:
        products, besides = _WORK[one.verb](params, one.key)
        seconds += 2 * products / speeds[name]
        passes += besides
    return (seconds + passes * small()) / max(cores, 1) / 3600


def layer_pass() -> float:
    """Seconds that 64 sentences take through a recurrent layer of 64 units and back, one core."""
    import torch

    layer, sentences = torch.nn.GRU(64, 64, batch_first=True), torch.ones(64, TOKENS, 64)
    with _one_thread():
        return _mean_time(lambda: layer(sentences)[0].sum().backward())


def product_speed(precision: str) -> float:
    """Operations a second of one core in a product of two square matrices, measured here."""
    import torch

    given = devices.precision(precision, "cpu") if precision != "float32" else precision
    size = 1024
    matrix = torch.ones(size, size, dtype=getattr(torch, given))
    with _one_thread():
        return 2 * size**3 / _mean_time(lambda: matrix @ matrix)


def _mean_time(work: Callable[[], object]) -> float:
    """Seconds, after a first time that is not counted."""
    work()
    done, started = 0, time.perf_counter()
    while (spent := time.perf_counter() - started) < MEASURED:
        work()
        done += 1
    return spent / done


@contextmanager
def _one_thread() -> Iterator[None]:
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


Work = tuple[float, float]  # multiplications with an addition; passes of a small layer


def _training(params: Params, model: str) -> Work:
    block = params.models[model]
    training, passes = block.training, getattr(block, "posterior_samples", 1)
    steps = (
        training.epochs * -(-_sentences(params, "train") // training.batch)
        if isinstance(training, EpochTraining)
        else training.max_validations * training.validate_every
    )
    each = TOKENS * (_encoder(params) + passes * _decoder(params)) * (1 + BACKWARDS)
    small = TRAINING + LANGEVIN * _langevin_steps(block)  # both chains are one
    return steps * training.batch * (each + 2 * _chain(block)), steps * small


def _judging(params: Params, model: str) -> Work:
    judge = params.judge
    tokens = TOKENS * min(judge.train_sentences, _sentences(params, "train"))
    sizes = [judge.embedding, *[judge.hidden] * (judge.layers - 1), judge.embedding]
    layers = sum(4 * out * (into + out) for into, out in pairwise(sizes))
    word = (layers + judge.embedding * _word_types(params)) * (1 + BACKWARDS)
    test = TOKENS * _sentences(params, "test")
    return (
        judge.epochs * tokens * word,
        (judge.epochs * tokens / judge.batch / judge.bptt + test / 50) * JUDGING,
    )


def _sampling(params: Params, model: str) -> Work:
    if model not in params.models:
        return 0, 0
    settings, block = params.evaluation, params.models[model]
    levels = getattr(block, "levels", 1)
    each = TOKENS * _decoder(params) + levels * _chain(block)
    small = DECODING * params.sentence_model.max_tokens + LANGEVIN * levels * _langevin_steps(block)
    return settings.samples * each, settings.samples / settings.sample_batch * small


def _weighing(params: Params, model: str) -> Work:
    settings, block = params.evaluation.annealed, params.models[model]
    # and a pilot run, fewer temperatures, both bounds
    moves = (1.75 * settings.sentences + 2 * settings.simulated) * settings.temperatures
    levels = 0.75 * getattr(block, "levels", 1)  # some moves begin at a later level
    each = TOKENS * _decoder(params) + levels * _chain(block)
    small = MOVE + LANGEVIN * levels * _langevin_steps(block)
    return settings.chains * moves * each, moves / 50 * small  # sentences are moved together


def _chain(block: object) -> float:
    """One chain with its gradients; 0 without an energy network."""
    width, deep = getattr(block, "energy_hidden", 0), getattr(block, "energy_blocks", 0)
    layers = deep + 3 if deep else 1  # residual ones and two branches, or a single wide one
    return _langevin_steps(block) * layers * width**2 * BACKWARDS


def _langevin_steps(block: object) -> int:
    return getattr(block, "langevin_steps", 0)


_WORK: dict[str, Callable[[Params, str], Work]] = {
    "train": _training,
    "judge": _judging,
    "sample": _sampling,
    "likelihood": _weighing,
}


def _encoder(params: Params) -> float:
    """A token, in both directions."""
    size = params.sentence_model
    return 6 * size.hidden * (size.embedding + size.hidden)


def _decoder(params: Params) -> float:
    """A token, with its logits."""
    size = params.sentence_model
    layer = 3 * size.hidden * (size.embedding + LATENT + size.hidden)
    return layer + size.hidden * _word_types(params)


def _word_types(params: Params) -> int:
    """A user's own text is taken to have as many as the treebank."""
    corpus = params.data.corpus
    known = WORD_TYPES[corpus if isinstance(corpus, str) else "ptb"]
    return min(known, params.data.vocabulary_limit or known)


def _sentences(params: Params, split: str) -> int:
    corpus = params.data.corpus
    return (
        _lines(getattr(corpus, split))
        if isinstance(corpus, TextFiles)
        else sizes(params.data)[split]
    )


@cache
def _lines(path: str) -> int:
    with open(path, "rb") as file:
        return sum(1 for _ in file)


def _span(hours: float) -> str:
    if hours < 1.5:
        return f"{hours * 60:.0f} minutes"
    return f"{hours:.0f} hours" if hours < 48 else f"{hours / 24:.0f} days"
