"""The first line of a pipeline run: where the work will be done, and on a CPU roughly how long it will take."""

import ctypes
import os
import sys
from collections.abc import Callable

from ldebm.config import EpochTraining, Params, TextFiles
from ldebm.pipeline import steps
from ldebm.pipeline.project import REAL, Project

PTB_SENTENCES = {"train": 42068, "test": 3761}

# What two CPU cores do at the published sizes, measured in float32 on one machine; other sizes scale with the square of the width.
CORES, WIDTH, JUDGE_WIDTH = 2, 512, 1150
TRAINED = 220.0  # sentences and posterior samples a second in training
JUDGED = 50.0  # sentences a second in the judge's training
SAMPLED = 190.0  # sentences a second
WEIGHED = 660.0  # sentences and posterior samples a second in the likelihood


def on_gpu(device: str) -> bool:
    """Whether CUDA will be used; torch is imported only where a driver is present."""
    if device == "cpu":
        return False
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    import torch

    return torch.cuda.is_available()


def once(project: Project, gpu: bool, cores: int) -> None:
    """Print the line, but not again in the processes that this one starts."""
    if os.environ.setdefault("LDEBM_ANNOUNCED", str(os.getpid())) == str(os.getpid()):
        print(sentence(project, gpu, cores), file=sys.stderr, flush=True)


def sentence(project: Project, gpu: bool, cores: int) -> str:
    """The line itself."""
    if gpu:
        import torch

        return f"ldebm: on CUDA ({torch.cuda.get_device_name()})"
    hours = estimated_hours(project, cores)
    spoken = (
        f"what is left takes very roughly {_span(hours)}"
        if hours > 0.05
        else "what is left is a matter of minutes"
    )
    return f"ldebm: on the CPU ({cores} core{'s' * (cores != 1)}), no GPU is used; {spoken}"


def estimated_hours(project: Project, cores: int) -> float:
    """Very roughly, the time that steps without up-to-date outputs take together."""
    stale = [step.name.split() for step in project.steps() if steps.is_stale(step)]
    seconds = sum(
        _SECONDS[verb](project.params, model)
        for verb, model in (words[:2] for words in stale if words[0] in _SECONDS)
    )
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
    count = (
        min(params.judge.train_sentences, _sentences(params, "train"))
        if model == REAL
        else params.judge.train_sentences
    )
    return params.judge.epochs * count / JUDGED * (params.judge.hidden / JUDGE_WIDTH) ** 2


def _sampling(params: Params, model: str) -> float:
    if model == REAL:
        return 0.0
    return params.evaluation.samples / SAMPLED * _relative_width(params)


def _evaluating(params: Params, model: str) -> float:
    sentences = params.evaluation.likelihood_sentences or _sentences(params, "test")
    return sentences * params.evaluation.likelihood_samples / WEIGHED * _relative_width(params)


_SECONDS: dict[str, Callable[[Params, str], float]] = {
    "train": _training,
    "judge": _judging,
    "sample": _sampling,
    "evaluate": _evaluating,
}


def _relative_width(params: Params) -> float:
    return (params.sentence_model.hidden / WIDTH) ** 2


def _sentences(params: Params, split: str) -> int:
    """How many sentences a split has; a user's own text is taken to be as long as the treebank."""
    if params.data.corpus == "grammar" and not isinstance(params.data.corpus, TextFiles):
        return int(getattr(params.data.grammar, split))
    return PTB_SENTENCES[split]


def _span(hours: float) -> str:
    return (
        f"{hours * 60:.0f} minutes"
        if hours < 1.5
        else f"{hours:.0f} hours"
        if hours < 48
        else f"{hours / 24:.0f} days"
    )
