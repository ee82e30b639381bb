"""The first line of a pipeline run: where, and on a CPU roughly how long, the work will be done.

The time is arithmetic by formula over the speed of a matrix product, which is measured on the spot,
and what a step of any size costs besides.
"""

import os
import sys
import time
from collections.abc import Callable, Sequence
from itertools import pairwise

from ldebm.config import EpochTraining, Params
from ldebm.data.download import PTB_SENTENCES
from ldebm.params import sizes
from ldebm.pipeline.steps import Step
from ldebm.runtime import device as devices

WORD_TYPES = {"ptb": 10_000, "grammar": 220}
TOKENS = 22  # of a sentence
LATENT = 40
BACKWARDS = 2  # what gradients cost, in forward passes
REACHED = {"float32": 0.7, "bfloat16": 0.3}  # of a product's speed, by a training step
CALL = 0.01  # s, what a step of training or annealing costs however small
START = 3.0  # s, what a step of the pipeline costs
MEASURED = 0.3  # s


def once(params: Params, stale: Sequence[Step], cores: int) -> None:
    """Print the line, but not again in the processes that this one starts."""
    if os.environ.setdefault("LDEBM_ANNOUNCED", str(os.getpid())) == str(os.getpid()):
        print(sentence(params, stale, cores), file=sys.stderr, flush=True)


def sentence(params: Params, stale: Sequence[Step], cores: int) -> str:
    """The line itself."""
    if devices.kind(params.run.device) == "cuda":
        return f"ldebm: on CUDA ({devices.describe(devices.choose(params.run.device))})"
    long = any(one.verb in _WORK for one in stale)
    hours = estimated_hours(params, stale, cores, product_speed) if long else 0.0
    rough = f"roughly {_span(hours)}" if hours > 0.05 else "minutes"
    spoken = f"{cores} core{'s' * (cores != 1)}"
    return f"ldebm: on the CPU ({spoken}), no GPU is used; what is left takes {rough}"


def estimated_hours(
    params: Params, stale: Sequence[Step], cores: int, speed: Callable[[str], float]
) -> float:
    """Roughly, the time that the steps without up-to-date outputs take together.

    Args:
        speed: of a matrix product on one core in a precision, operations a second.
    """
    work = [
        (params.judge.precision if one.verb == "judge" else params.run.precision, one)
        for one in stale
        if one.verb in _WORK and one.key in (*params.models, "real")
    ]
    speeds = {name: speed(name) * REACHED[name] for name in dict.fromkeys(name for name, _ in work)}
    seconds = 0.0
    for name, one in work:
        products, calls = _WORK[one.verb](params, one.key)
        seconds += 2 * products / speeds[name] + calls * CALL + START
    return seconds / max(cores, 1) / 3600


def product_speed(precision: str) -> float:
    """Operations a second of one core in a product of two square matrices, measured here."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    given = devices.precision(precision, "cpu") if precision != "float32" else precision
    size, done, matrix = 1024, 0, torch.ones(1024, 1024, dtype=getattr(torch, given))
    matrix @ matrix
    started = time.perf_counter()
    while (spent := time.perf_counter() - started) < MEASURED:
        matrix @ matrix
        done += 1
    torch.set_num_threads(threads)
    return 2 * size**3 * done / spent


Work = tuple[float, float]  # multiplications with an addition; calls


def _training(params: Params, model: str) -> Work:
    block = params.models[model]
    training, passes = block.training, getattr(block, "posterior_samples", 1)
    steps = (
        training.epochs * -(-_sentences(params, "train") // training.batch)
        if isinstance(training, EpochTraining)
        else training.max_validations * training.validate_every
    )
    each = TOKENS * (_encoder(params) + passes * _decoder(params)) * (1 + BACKWARDS)
    return steps * training.batch * (each + 2 * _chain(block)), steps


def _judging(params: Params, model: str) -> Work:
    judge = params.judge
    tokens = TOKENS * min(judge.train_sentences, _sentences(params, "train"))
    sizes = [judge.embedding, *[judge.hidden] * (judge.layers - 1), judge.embedding]
    layers = sum(4 * out * (into + out) for into, out in pairwise(sizes))
    word = (layers + judge.embedding * _word_types(params)) * (1 + BACKWARDS)
    test = TOKENS * _sentences(params, "test")
    return (
        judge.epochs * tokens * word,
        judge.epochs * tokens / judge.batch / judge.bptt + test / 50,
    )


def _sampling(params: Params, model: str) -> Work:
    if model not in params.models:
        return 0, 0
    settings, block = params.evaluation, params.models[model]
    each = TOKENS * _decoder(params) + getattr(block, "levels", 1) * _chain(block)
    batches = settings.samples / settings.sample_batch
    return settings.samples * each, batches * params.sentence_model.max_tokens


def _weighing(params: Params, model: str) -> Work:
    settings, block = params.evaluation.annealed, params.models[model]
    # and a pilot run, fewer temperatures, both bounds
    moves = (1.75 * settings.sentences + 2 * settings.simulated) * settings.temperatures
    chain = 0.75 * getattr(block, "levels", 1) * _chain(block)  # some moves begin at a later level
    calls = moves / 50  # sentences are moved together
    return settings.chains * moves * (TOKENS * _decoder(params) + chain), calls


def _chain(block: object) -> float:
    """One chain with its gradients; 0 without an energy network."""
    width, deep = getattr(block, "energy_hidden", 0), getattr(block, "energy_blocks", 0)
    layers = deep + 3 if deep else 1  # residual ones and two branches, or a single wide one
    return getattr(block, "langevin_steps", 0) * layers * width**2 * BACKWARDS


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
    """A user's own text is taken to have as many words and sentences as the treebank."""
    corpus = params.data.corpus
    known = WORD_TYPES[corpus if isinstance(corpus, str) else "ptb"]
    return min(known, params.data.vocabulary_limit or known)


def _sentences(params: Params, split: str) -> int:
    return (sizes(params.data) or PTB_SENTENCES)[split]


def _span(hours: float) -> str:
    if hours < 1.5:
        return f"{hours * 60:.0f} minutes"
    return f"{hours:.0f} hours" if hours < 48 else f"{hours / 24:.0f} days"
