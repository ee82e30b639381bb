"""How the judge of reverse perplexity learns, and is saved while it does.

Sources: Merity et al. 2018, "Regularizing and Optimizing LSTM Language Models", and the code
published with it.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from ldebm.config import Judge
from ldebm.errors import ModelError, UserError
from ldebm.metrics.awd_lstm import AwdLstm, activation_regularisation
from ldebm.runtime import checkpoint
from ldebm.runtime.checkpoint import under_prefix, with_prefix
from ldebm.runtime.optimisers import SGD

Epoch = dict[str, Any]
ARCHITECTURE = (
    "embedding",
    "hidden",
    "layers",
    "dropouti",
    "dropouth",
    "dropout",
    "dropoute",
    "weight_drop",
)
LARGEST_LOSS = 700.0  # nats a word; the exponential of more is not a float
# Words a chunk when nothing is learned; bounds the (words, vocabulary) table of logits.
SCORED_AT_ONCE = 1024


@dataclass
class Learner:
    """All that changes while the judge learns; a checkpoint holds just this."""

    model: AwdLstm
    optimiser: torch.optim.Optimizer
    generator: torch.Generator  # dropout masks
    rng: np.random.Generator  # lengths of the training sequences
    best: dict[str, Tensor]
    history: list[Epoch]
    # of the weights after every step since the switch to averaging
    average: AveragedModel | None = None


def sequence_length(rng: np.random.Generator, bptt: int) -> int:
    """Words until gradients stop: N(bptt, 5), one time in twenty N(bptt / 2, 5), at least 5.

    Source: Merity et al., 4.1.
    """
    mean = bptt if rng.random() < 0.95 else bptt / 2
    return max(5, int(rng.normal(mean, 5)))


def should_average(losses: Sequence[float], loss: float, nonmono: int) -> bool:
    """Whether `loss` is worse than the best of the earlier `losses` without their last `nonmono`.

    The non-monotone trigger of averaged SGD (Merity et al. 2018, algorithm 1).
    """
    return len(losses) > nonmono and loss > min(losses[: len(losses) - nonmono])


def start(vocabulary_size: int, settings: Judge, seed: int, device: torch.device) -> Learner:
    """The judge before its first epoch."""
    generator = torch.Generator(device).manual_seed(seed)
    model = AwdLstm(
        vocabulary_size,
        **{name: getattr(settings, name) for name in ARCHITECTURE},
        generator=generator,
    )
    return Learner(model, sgd(model, settings), generator, np.random.default_rng(seed), {}, [])


def sgd(model: AwdLstm, settings: Judge) -> torch.optim.Optimizer:
    """Plain stochastic gradient descent."""
    return SGD(
        model.parameters(), settings.learning_rate, weight_decay=settings.weight_decay, fused=True
    )


def one_epoch(
    training: Learner, scored: AwdLstm, train: Tensor, valid: Tensor, settings: Judge
) -> Epoch:
    """Trains over `train` (T, B), validates, keeps the best weights, begins to average when due."""
    began = time.perf_counter()
    train_loss, words = learn(training, train, settings)
    seconds = time.perf_counter() - began
    scored.load_state_dict(weights_to_score(training))
    loss = mean_nll(scored, valid)
    number = len(training.history) + 1
    if not loss < LARGEST_LOSS:  # also when it is not a number
        raise ModelError(
            f"the judge diverged: its validation loss is {loss} after epoch {number}; "
            "lower the judge's learning rate"
        )
    if all(loss < epoch["valid_loss"] for epoch in training.history):
        training.best = {name: weight.clone() for name, weight in scored.state_dict().items()}
    kind = "sgd" if training.average is None else "asgd"
    if kind == "sgd" and should_average(
        [epoch["valid_loss"] for epoch in training.history], loss, settings.nonmono
    ):
        training.average = AveragedModel(training.model)
    epoch = {
        "epoch": number,
        "train_loss": train_loss,
        "valid_loss": loss,
        "valid_ppl": math.exp(loss),
        "lr": settings.learning_rate,
        "optimiser": kind,
        "seconds": time.perf_counter() - began,
        "tokens_per_second": words / seconds,
    }
    training.history.append(epoch)
    return epoch


def learn(training: Learner, columns: Tensor, settings: Judge) -> tuple[float, int]:
    """One pass over columns (T, B), the state carried along.

    Returns:
        The mean loss in nats a word, and how many words.
    """
    model, optimiser, generator = training.model.train(), training.optimiser, training.generator
    state = model.initial_state(columns.shape[1])
    total = torch.zeros((), device=columns.device)
    i = words = 0
    # beta's term needs two words, so a single last one is left out, as published
    while i < len(columns) - 2:
        length = sequence_length(training.rng, settings.bptt)
        inputs = columns[i : min(i + length, len(columns) - 1)]  # (t, B)
        targets = columns[i + 1 : i + 1 + len(inputs)]
        state = [(h.detach(), c.detach()) for h, c in state]
        with torch.autocast(
            columns.device.type, torch.bfloat16, enabled=settings.precision == "bfloat16"
        ):
            output = model(inputs, state, generator)
            nll = model.nll(output.dropped, targets).mean()
        loss = nll + activation_regularisation(output, settings.alpha, settings.beta)
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip)
        # a long sequence is worth more steps, so it takes a larger one
        optimiser.param_groups[0]["lr"] = settings.learning_rate * length / settings.bptt
        optimiser.step()
        if training.average is not None:
            training.average.update_parameters(model)
        state = output.state
        total += nll.detach() * targets.numel()
        words += targets.numel()
        i += length
    return total.item() / words, words


@torch.inference_mode()
def mean_nll(model: AwdLstm, columns: Tensor, chunk: int | None = None) -> float:
    """Nats a word of columns (T, B), the first row given; read `chunk` rows at a time."""
    model.eval()
    chunk = chunk or max(1, SCORED_AT_ONCE // columns.shape[1])
    state = model.initial_state(columns.shape[1])
    total = 0.0
    for i in range(0, len(columns) - 1, chunk):
        targets = columns[i + 1 : i + 1 + chunk]
        output = model(columns[i : i + len(targets)], state)
        state = output.state
        total += model.nll(output.dropped, targets).sum(dtype=torch.float64).item()
    return total / columns[1:].numel()


def weights_to_score(training: Learner) -> dict[str, Tensor]:
    """The current weights, or their average once there is one.

    Algorithm 1 of Merity et al. 2018. PyTorch's ASGD, which their code uses, takes each step with
    the rate of the sequence before, and leaves the first step out of the mean.
    """
    return (training.model if training.average is None else training.average.module).state_dict()


def save(path: Path, training: Learner, identity: str) -> None:
    """Writes `training` to `path`, whole or not at all."""
    tensors = {
        "generator": training.generator.get_state(),
        **with_prefix("model", training.model.state_dict()),
        **with_prefix("best", training.best),
        **with_prefix(
            "average", training.average.state_dict() if training.average is not None else {}
        ),
    }
    state = {
        "identity": identity,
        "rng": training.rng.bit_generator.state,
        "history": training.history,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    checkpoint.save(path, tensors, state, keep_previous=True)


def load(path: Path, training: Learner, identity: str) -> None:
    """Puts `training` back to where `save` left it, if it did.

    Raises:
        UserError: the checkpoint is of another judge.
    """
    found = checkpoint.newest(path)
    if found is None:
        return
    tensors, state = found
    if state["identity"] != identity:
        raise UserError(
            f"{path}: the checkpoint is of another judge ({state['identity']}); "
            "delete it to start again"
        )
    training.rng.bit_generator.state = state["rng"]
    training.history = state["history"]
    epochs = len(training.history)
    checkpoint.restore_generator(training.generator, tensors["generator"], epochs, path)
    training.model.load_state_dict(under_prefix("model", tensors))
    training.best = under_prefix("best", tensors)
    if average := under_prefix("average", tensors):
        training.average = AveragedModel(training.model)
        training.average.load_state_dict(average)
