"""When to validate, what to keep, when to stop: small state machines, their state plain JSON."""

import math
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from ldebm.config import EpochTraining, PatienceTraining


@dataclass(frozen=True)
class Verdict:
    """What follows from a validation: whether to keep these weights, and why to stop, if so."""

    keep: bool
    stop: str | None


class Policy(Protocol):
    """Decides at the end of a step whether to validate, and what follows from a validation."""

    learning_rate_factor: float

    def due(self, step: int, epoch_ended: bool) -> bool: ...
    def observe(self, score: float) -> Verdict: ...
    def state(self) -> dict[str, Any]: ...


@dataclass
class PatiencePolicy:
    """Validation every so many steps, the best is kept (Shi et al. 2020, the code).

    The learning rate is multiplied by `decay` at every validation that is worse than the best, from
    the second one after the best on. Whenever a loss is ≤ improvement × the loss at the last such
    validation, patience (in validations) becomes max(patience, factor × validations done).
    """

    validate_every: int
    max_validations: int
    patience: float
    patience_factor: float
    improvement: float
    decay: float
    min_factor: float
    validations: int = 0
    since_best: int = 0
    best: float = math.inf
    significant: float = math.inf
    learning_rate_factor: float = 1.0

    def due(self, step: int, epoch_ended: bool) -> bool:
        """After every `validate_every` steps."""
        return step % self.validate_every == 0

    def observe(self, score: float) -> Verdict:
        """Take a validation loss in nats (lower is better)."""
        self.validations += 1
        keep = score < self.best
        self.since_best = 0 if keep else self.since_best + 1
        self.best = min(self.best, score)
        if self.since_best >= 2:
            self.learning_rate_factor *= self.decay
        if score <= self.improvement * self.significant:
            self.significant = score
            self.patience = max(self.patience, self.patience_factor * self.validations)
        return Verdict(keep, self._stop())

    def state(self) -> dict[str, Any]:
        """The fields, to be given to the constructor again."""
        return asdict(self)

    def _stop(self) -> str | None:
        if self.validations >= self.max_validations:
            return f"{self.validations} validations done"
        if self.validations >= self.patience:
            return f"no better after {self.patience:g} validations"
        if self.learning_rate_factor <= self.min_factor:
            return "the learning rate reached its minimum"
        return None


@dataclass
class EpochPolicy:
    """A fixed number of epochs, validated after each; keeps the last, or the lowest score."""

    epochs: int
    keep_last: bool
    done: int = 0
    best: float = math.inf
    learning_rate_factor: float = 1.0

    def due(self, step: int, epoch_ended: bool) -> bool:
        """At the end of an epoch."""
        return epoch_ended

    def observe(self, score: float) -> Verdict:
        """Take the score of an epoch."""
        self.done += 1
        keep = self.keep_last or score < self.best
        self.best = min(self.best, score)
        return Verdict(keep, f"{self.epochs} epochs done" if self.done >= self.epochs else None)

    def state(self) -> dict[str, Any]:
        """The fields, to be given to the constructor again."""
        return asdict(self)


def new_policy(training: PatienceTraining | EpochTraining) -> PatiencePolicy | EpochPolicy:
    """The policy that a model's `training` block describes."""
    if isinstance(training, EpochTraining):
        return EpochPolicy(training.epochs, training.select == "last")
    return PatiencePolicy(
        validate_every=training.validate_every,
        max_validations=training.max_validations,
        patience=training.patience,
        patience_factor=training.patience_factor,
        improvement=training.improvement,
        decay=training.decay,
        min_factor=training.min_learning_rate / training.learning_rate["sentence"],
    )
