"""Weights of the objective's terms as pure functions of the training step.

Schedule(step, total_steps) -> weight.
"""

import math
from collections.abc import Callable

Schedule = Callable[[int, int], float]


def constant(value: float) -> Schedule:
    """The same weight at every step."""
    return lambda step, total: value


def logistic(slope: float, midpoint: float) -> Schedule:
    """1/(1 + exp(-slope (step - midpoint))), and 0 at step 0.

    Sources: Bowman et al. 2016; Shi et al. 2020.
    """

    def weight(step: int, total: int) -> float:
        x = slope * (step - midpoint)
        # below -700 both are the same number, but exp(-x) is soon no float
        return 0.0 if step == 0 else math.exp(x) if x < -700 else 1 / (1 + math.exp(-x))

    return weight


def cyclic(cycles: int, maximum: float, silent: float = 0.5, rise: float = 0.25) -> Schedule:
    """A weight that is 0 for the first `silent` part of a cycle, then grows linearly to `maximum`
    within the `rise` part, then stays (Fu et al. 2019).

    A cycle of P = total/cycles steps, P not rounded, starts at step ⌊cP⌋. The weight is still 0 at
    the first step of the rise.
    """

    def weight(step: int, total: int) -> float:
        period = total / cycles
        start = max(int(cycle * period) for cycle in range(cycles) if int(cycle * period) <= step)
        within = step - start
        risen = within - math.ceil(silent * period)
        return 0.0 if risen <= 0 else min(maximum, risen * maximum / (rise * period))

    return weight


def while_positive(schedule: Schedule) -> Schedule:
    """1 while the other schedule is above 0, else 0."""
    return lambda step, total: 1.0 if schedule(step, total) > 0 else 0.0
