"""Random streams that have nothing to do with one another, by a seed and a name."""

import numpy as np


def derived_seed(seed: int, *name: int | str) -> int:
    """The seed of the stream that `name` names.

    A model's initial weights are drawn from the seed itself. Noise drawn from it too would be those
    weights, number by number.
    """
    path = [one for part in name for one in (part.encode() if isinstance(part, str) else [part])]
    state = np.random.SeedSequence([seed, *path]).generate_state(1, np.uint64)[0]
    return int(state >> np.uint64(1))
