"""The first line of a pipeline run: where, and on a CPU roughly how long, the work will be done."""

import os
import sys
from collections.abc import Callable, Sequence

from ldebm.config import EpochTraining, Params
from ldebm.pipeline.steps import Step
from ldebm.runtime import device as devices

PTB_SENTENCES = {"train": 42068, "test": 3761}

# What two CPU cores do at the published sizes, measured in float32 on one machine; other sizes
# scale with the square of the width.
CORES, WIDTH, JUDGE_WIDTH = 2, 512, 1150
TRAINED = 220.0  # sentences and posterior samples a second in training
JUDGED = 50.0  # sentences a second in the judge's training
SAMPLED = 190.0  # sentences a second
WEIGHED = 660.0  # sentences and posterior samples a second in the likelihood


def once(params: Params, stale: Sequence[Step], cores: int) -> None:
    """Print the line, but not again in the processes that this one starts."""
    if os.environ.setdefault("LDEBM_ANNOUNCED", str(os.getpid())) == str(os.getpid()):
        print(sentence(params, stale, cores), file=sys.stderr, flush=True)


def sentence(params: Params, stale: Sequence[Step], cores: int) -> str:
    """The line itself."""
    if devices.kind(params.run.device) == "cuda":
        return f"ldebm: on CUDA ({devices.describe(devices.choose(params.run.device))})"
    hours = estimated_hours(params, stale, cores)
    rough = f"very roughly {_span(hours)}" if hours > 0.05 else "minutes"
    spoken = f"{cores} core{'s' * (cores != 1)}"
    return f"ldebm: on the CPU ({spoken}), no GPU is used; what is left takes {rough}"


def estimated_hours(params: Params, stale: Sequence[Step], cores: int) -> float:
    """Very roughly, the time that the steps without up-to-date outputs take together."""
    seconds = sum(_SECONDS[one.verb](params, one.key) for one in stale if one.verb in _SECONDS)
    return seconds * CORES / max(cores, 1) / 3600


def _training(params: Params, model: str) -> float:
    block = params.models[model]
    training, passes = block.training, getattr(block, "posterior_samples", 1)
    if isinstance(training, EpochTraining):
        sentences = training.epochs * _sentences(params, "train")
    else:
        sentences = training.max_validations * training.validate_every * training.batch
    return sentences * passes / TRAINED * _relative_width(params)


def _judging(params: Params, model: str) -> float:
    sentences = min(params.judge.train_sentences, _sentences(params, "train"))
    return params.judge.epochs * sentences / JUDGED * (params.judge.hidden / JUDGE_WIDTH) ** 2


def _sampling(params: Params, model: str) -> float:
    return params.evaluation.samples / SAMPLED * _relative_width(params)


def _weighing(params: Params, model: str) -> float:
    settings = params.evaluation.annealed  # and a pilot run, fewer temperatures, both bounds
    chains = (1.75 * settings.sentences + 2 * settings.simulated) * settings.chains
    return chains * settings.temperatures / WEIGHED * _relative_width(params)


_SECONDS: dict[str, Callable[[Params, str], float]] = {
    "train": _training,
    "judge": _judging,
    "sample": _sampling,
    "likelihood": _weighing,
}


def _relative_width(params: Params) -> float:
    return (params.sentence_model.hidden / WIDTH) ** 2


def _sentences(params: Params, split: str) -> int:
    """How many sentences a split has; a user's own text is taken to be as long as the treebank."""
    if params.data.corpus == "grammar":
        return int(getattr(params.data.grammar, split))
    return PTB_SENTENCES[split]


def _span(hours: float) -> str:
    if hours < 1.5:
        return f"{hours * 60:.0f} minutes"
    return f"{hours:.0f} hours" if hours < 48 else f"{hours / 24:.0f} days"
