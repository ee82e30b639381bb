"""A training run: everything that changes from step to step, and how it is saved and continued."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ldebm.config import EpochTraining
from ldebm.context import Context
from ldebm.data.batches import Batch, by_length, collate
from ldebm.errors import ModelError, UserError
from ldebm.evaluation.inference import EVALUATION_BATCH, posterior_modes, reconstruction_bleu
from ldebm.evaluation.prior_fit import prior_fit
from ldebm.models.plans import EpochPlan, bucketed
from ldebm.models.sentence import SentenceModel
from ldebm.runtime import checkpoint
from ldebm.runtime.optimisers import Adam
from ldebm.streams import derived_seed
from ldebm.training.averaging import MovingAverage
from ldebm.training.policies import Policy, new_policy

LOG_EVERY = 50  # steps
CHECKPOINT_EVERY = 60.0  # seconds
RUNAWAY = 10.0  # times the nats that a sentence of full length costs by chance
Entry = dict[str, float]  # of the history
Report = Callable[[Entry], None]


class Trainer:
    """Trains a model by a policy; `run` goes on from the context's checkpoint, if there is one."""

    def __init__(self, context: Context, model: SentenceModel) -> None:
        self.context, self.corpus = context, context.corpus
        self.training = context.params.models[context.key].training
        self.model = model.to(context.device)
        self.groups = model.parameter_groups()
        self.optimiser = Adam([{"params": group} for group in self.groups.values()], fused=True)
        decay = getattr(self.training, "energy_average", None)
        self.average = MovingAverage(self.groups["energy"] if decay else (), decay or 0.0)
        self.policy: Policy = new_policy(self.training)
        stream = derived_seed(context.seed, "training")
        self.generator = torch.Generator(context.device).manual_seed(stream)
        self.rng = np.random.default_rng(context.seed)
        self.progress = Progress()
        self.plan: EpochPlan | None = None
        self.recent: list[dict[str, Tensor]] = []  # of each step since the last entry
        self._clock = time.perf_counter()

    @property
    def total_steps(self) -> int:
        """Steps of the longest possible run."""
        if isinstance(self.training, EpochTraining):
            return self.training.epochs * self.steps_per_epoch
        return self.training.max_validations * self.training.validate_every

    @property
    def steps_per_epoch(self) -> int:
        """Batches of an epoch, the last incomplete one included."""
        return math.ceil(len(self.corpus.train) / self.training.batch)

    @property
    def best_path(self) -> Path:
        """The weights that will be kept."""
        return self.context.checkpoints / "best.safetensors"

    def run(self, report: Report) -> None:
        """Train until the policy stops it.

        `report` gets every entry of the history as it is made.
        """
        self._resume()
        saved = time.perf_counter()
        while self.progress.stopped is None:
            self._step()
            ended = self.progress.position >= self.steps_per_epoch
            due = self.policy.due(self.progress.step, ended)
            logged = due or self.progress.step % LOG_EVERY == 0
            if logged or ended:
                self._check()
            if logged:
                with self.average.in_place():
                    validation = self._validate() if due else {}
                report(self._log(validation))
                if due or time.perf_counter() - saved > CHECKPOINT_EVERY:
                    self._save()
                    saved = time.perf_counter()
            if ended:
                self._end_epoch()

    def _step(self) -> None:
        """One update of the weights."""
        if self.plan is None:
            self._start_epoch()
        self.model.train()
        batch = self._batch()
        loss = self.model.loss(batch, self.progress.step, self.total_steps, self.generator)
        self.optimiser.zero_grad(set_to_none=True)
        loss.total.backward()
        # kept on the device until they are logged, so that no step waits for them
        self.recent.append(loss.terms | {"loss": loss.total.detach()} | self._clip())
        self._set_learning_rates()
        self.optimiser.step()
        self.average.update()
        self.progress.step += 1
        self.progress.position += 1
        self.progress.tokens += int(batch.lengths.sum())

    def _start_epoch(self) -> None:
        split = self.corpus.train
        modes = partial(posterior_modes, self.context, self.model, split)
        plan = self.model.plan_epoch(len(split), self.rng, modes)
        lengths = np.minimum(split.lengths, self.context.max_tokens - 2)[plan.order]
        self.plan = plan.arranged(
            bucketed(lengths, self.training.batch, self.training.bucket, self.rng)
        )
        self.progress.figures = plan.figures

    def _end_epoch(self) -> None:
        self.plan, self.progress.position = None, 0
        self.progress.epoch += 1

    def _batch(self) -> Batch:
        assert self.plan is not None
        part = slice(
            self.progress.position * self.training.batch,
            (self.progress.position + 1) * self.training.batch,
        )
        labels = None if self.plan.labels is None else self.plan.labels[part]
        return collate(
            self.corpus.train,
            self.plan.order[part],
            self.context.max_tokens,
            self.context.device,
            labels,
        )

    def _clip(self) -> dict[str, Tensor]:
        """Clip each group's gradient norm; the norms before clipping."""
        norms = {}
        for name, group in self.groups.items():
            if any(weight.grad is not None for weight in group):
                norm = torch.nn.utils.clip_grad_norm_(group, self.training.clip[name])
            else:  # that function's 0 lies on the CPU, and a copy to CUDA would wait
                norm = torch.zeros((), device=self.context.device)
            norms[f"gradient_norm_{name}"] = norm
        return norms

    def _set_learning_rates(self) -> None:
        factor = self.policy.learning_rate_factor * self._cooldown()
        for name, group in zip(self.groups, self.optimiser.param_groups, strict=True):
            group["lr"] = self.training.learning_rate[name] * factor

    def _cooldown(self) -> float:
        """1 until `cooldown` epochs of the longest run are left, then linearly to 0."""
        if self.training.cooldown is None:
            return 1.0
        left = (self.total_steps - self.progress.step) / self.steps_per_epoch
        return min(1.0, left / self.training.cooldown)

    def _check(self) -> None:
        """Wait for the device and look at every step since the last entry.

        Raises:
            ModelError: a loss is not finite (names the first step and term that was not), or runs
                away: an energy that its chains cannot follow grows without end, and stays finite.
        """
        if not self.recent:
            return
        losses = torch.stack([values["loss"] for values in self.recent])
        if not losses.isfinite().all():
            raise self._diverged(self._first_infinite())
        loss = losses.mean().item()
        chance = self.context.max_tokens * math.log(len(self.corpus.vocabulary))
        if abs(loss) > RUNAWAY * chance:
            raise self._diverged(f"by step {self.progress.step}: its loss is {loss:.0f} nats")

    def _first_infinite(self) -> str:
        first = self.progress.step - len(self.recent) + 1
        return next(
            f"at step {step}, where {term} is {value.item()}"
            for step, values in enumerate(self.recent, first)
            for term, value in values.items()
            if not value.isfinite()
        )

    def _diverged(self, how: str) -> ModelError:
        key, block = self.context.key, self.context.params.models[self.context.key]
        causes = [name for name, one in block if name.endswith(("_step_size", "_weight")) and one]
        lower = " or ".join(["training.learning_rate", *causes])
        return ModelError(f"training diverged {how}; lower models.{key}.{lower}")

    def _log(self, validation: Entry) -> Entry:
        """An entry of the history: means since the last, rates, speed, a validation's results."""
        names = dict.fromkeys(name for values in self.recent for name in values)
        recent = {name: [one[name] for one in self.recent if name in one] for name in names}
        means = {name: torch.stack(values).mean().item() for name, values in recent.items()}
        self.recent = []
        seconds = time.perf_counter() - self._clock
        self._clock = time.perf_counter()
        rates = {
            f"learning_rate_{name}": group["lr"]
            for name, group in zip(self.groups, self.optimiser.param_groups, strict=True)
        }
        entry = {
            "step": self.progress.step,
            "epoch": self.progress.epoch + self.progress.position / self.steps_per_epoch,
        }
        entry |= means | rates | self.progress.figures | validation
        entry["tokens_per_second"] = self.progress.tokens / seconds
        self.progress.seconds += seconds
        entry["seconds"] = self.progress.seconds
        self.progress.tokens, self.progress.figures = 0, {}
        self.progress.history.append(entry)
        return entry

    def _validate(self) -> Entry:
        """Score the validation split; keep the weights, or end the run, if the policy says so."""
        self.model.eval()
        batches = by_length(
            self.corpus.valid, EVALUATION_BATCH, self.context.max_tokens, self.context.device
        )
        losses = torch.cat(
            [self.model.validation_loss(batch, self.context.seed) for batch in batches]
        )
        entry = {"valid_loss": losses.double().mean().item()}
        if not math.isfinite(entry["valid_loss"]):
            raise self._diverged(
                f"at step {self.progress.step}, where valid_loss is {entry['valid_loss']}"
            )
        entry |= self._prior_fit()
        if self.model.encoder is not None:
            entry["valid_bleu"] = reconstruction_bleu(self.context, self.model, self.corpus.valid)
        by_bleu = getattr(self.training, "select", None) == "valid_bleu"
        verdict = self.policy.observe(-entry["valid_bleu"] if by_bleu else entry["valid_loss"])
        if verdict.keep:
            checkpoint.save(
                self.best_path, checkpoint.model_tensors(self.model), {"step": self.progress.step}
            )
            self.progress.kept_step = self.progress.step
        self.progress.stopped = verdict.stop
        return entry

    def _prior_fit(self) -> Entry:
        """How far the prior's sampler is from the posterior.

        Training's random stream is not used.
        """
        generator = torch.Generator(self.context.device).manual_seed(self.context.seed)
        fit = prior_fit(self.model, self.corpus.valid, self.context.max_tokens, generator)
        return {"valid_prior_fit": fit["prior_fit"]} if fit else {}

    def _save(self) -> None:
        """Write all that decides the rest of the run, right after an entry was made."""
        tensors = checkpoint.with_prefix("model", checkpoint.model_tensors(self.model))
        tensors |= checkpoint.with_prefix("optimiser", checkpoint.optimiser_tensors(self.optimiser))
        tensors |= checkpoint.with_prefix("random", self._random_states())
        tensors |= {f"average/{number}": one for number, one in enumerate(self.average.average)}
        if self.plan is not None:
            tensors["plan/order"] = torch.from_numpy(self.plan.order)
            if self.plan.labels is not None:
                tensors["plan/labels"] = torch.from_numpy(self.plan.labels)
        state = {
            "of": self._identity,
            "progress": vars(self.progress),
            "policy": self.policy.state(),
            "rng": self.rng.bit_generator.state,
        }
        path = self.context.checkpoints / "checkpoint.safetensors"
        checkpoint.save(path, tensors, state, keep_previous=True)

    def _resume(self) -> None:
        path = self.context.checkpoints / "checkpoint.safetensors"
        found = checkpoint.newest(path)
        if found is None:
            return
        tensors, state = found
        if state["of"] != self._identity:
            raise UserError(f"{path}: is of {state['of']}, not of {self._identity}; delete it")
        if state["progress"]["kept_step"] and checkpoint.newest(self.best_path) is None:
            return  # the weights to keep cannot be had from elsewhere
        checkpoint.restore_model(self.model, checkpoint.under_prefix("model", tensors), path)
        checkpoint.restore_optimiser(self.optimiser, checkpoint.under_prefix("optimiser", tensors))
        for number, one in enumerate(self.average.average):
            one.copy_(tensors[f"average/{number}"])
        self.progress = Progress(**state["progress"])
        self._set_random_states(checkpoint.under_prefix("random", tensors), path)
        plan = checkpoint.under_prefix("plan", tensors)
        if plan:
            self.plan = EpochPlan(
                plan["order"].numpy(), plan["labels"].numpy() if "labels" in plan else None
            )
        self.policy = type(self.policy)(**state["policy"])
        self.rng.bit_generator.state = state["rng"]
        if self.progress.stopped is None and self.progress.position >= self.steps_per_epoch:
            self._end_epoch()

    @property
    def _identity(self) -> str:
        """What a checkpoint is of."""
        return f"{self.context.key} seed {self.context.seed}"

    def _random_states(self) -> dict[str, Tensor]:
        states = {"cpu": torch.get_rng_state(), "generator": self.generator.get_state()}
        return states | (
            {"cuda": torch.cuda.get_rng_state(self.context.device)}
            if self.context.device.type == "cuda"
            else {}
        )

    def _set_random_states(self, states: dict[str, Tensor], origin: Path) -> None:
        torch.set_rng_state(states["cpu"])
        step = self.progress.step
        checkpoint.restore_generator(self.generator, states["generator"], step, origin)
        if self.context.device.type == "cuda" and "cuda" in states:
            torch.cuda.set_rng_state(states["cuda"], self.context.device)


@dataclass
class Progress:
    """How far a run is; plain values, so that it is stored as JSON."""

    step: int = 0
    epoch: int = 0
    position: int = 0  # batches done of the epoch
    tokens: int = 0  # since the last entry of the history
    seconds: float = 0.0
    kept_step: int = 0
    stopped: str | None = None
    figures: Entry = field(default_factory=dict)
    history: list[Entry] = field(default_factory=list)
