"""Which sentences an epoch trains on, and their pseudo-labels.

Plain shuffling, or geometric clustering of the latent space.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
EpochPlanner = Callable[[int, np.random.Generator, Callable[[], Array]], "EpochPlan"]


@dataclass(frozen=True)
class EpochPlan:
    """The sentences of an epoch in their order, their pseudo-labels (None where the model has
    none), and figures for the history.
    """

    order: Array
    labels: Array | None = None
    figures: dict[str, float] = field(default_factory=dict)

    def arranged(self, places: Array) -> "EpochPlan":
        """The same plan in another order."""
        return EpochPlan(
            self.order[places], None if self.labels is None else self.labels[places], self.figures
        )


def bucketed(lengths: Array, batch: int, bucket: int, rng: np.random.Generator) -> Array:
    """An arrangement of sentences of `lengths` (N,) into batches of similar length.

    Of every `bucket` batches in turn the sentences are sorted and the batches shuffled. Returns a
    permutation of 0 … N-1, the last batch incomplete if it must be; with a bucket of one batch, 0 …
    N-1 itself.
    """
    if bucket == 1:
        return np.arange(len(lengths))
    parts = []
    for start in range(0, len(lengths), batch * bucket):
        places = start + np.argsort(lengths[start : start + batch * bucket], kind="stable")
        whole = len(places) // batch * batch
        parts.append(rng.permutation(places[:whole].reshape(-1, batch)).flatten())
        parts.append(places[whole:])
    return np.concatenate(parts)


def shuffled(count: int, rng: np.random.Generator, modes: Callable[[], Array]) -> EpochPlan:
    """Each of the `count` training sentences once, in random order."""
    return EpochPlan(rng.permutation(count))


def geometric_clusters(
    clusters: int, dimensions: int, iterations: int, seed: int = 0
) -> EpochPlanner:
    """Cluster the posterior modes, draw equally from every cluster, label sentences by theirs.

    Source: Yu et al. 2022.
    """

    def plan(count: int, rng: np.random.Generator, modes: Callable[[], Array]) -> EpochPlan:
        start = time.perf_counter()
        assignment = cluster(modes(), clusters, dimensions, iterations, seed)
        order = balanced_order(assignment, rng)
        figures = {
            "clusters": float(len(np.unique(assignment))),
            "clustering_seconds": time.perf_counter() - start,
        }
        return EpochPlan(order, assignment[order], figures)

    return plan


def cluster(points: Array, clusters: int, dimensions: int, iterations: int, seed: int) -> Array:
    """Centred, whitened PCA to `dimensions`, L2-normalised, k-means from one random start.

    `points` (N, D); returns (N,) int64 cluster numbers.
    """
    from sklearn.cluster import KMeans
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import normalize

    if len(points) == 1:  # it has no variance
        return np.zeros(1, np.int64)
    directions = normalize(
        PCA(min(dimensions, *points.shape), whiten=True, random_state=seed).fit_transform(points)
    )
    means = KMeans(
        min(clusters, len(points)), init="random", n_init=1, max_iter=iterations, random_state=seed
    )
    return means.fit_predict(directions).astype(np.int64)


def balanced_order(assignment: Array, rng: np.random.Generator) -> Array:
    """⌊N/k⌋ + 1 members of each of the k non-empty clusters, without replacement where a cluster is
    larger than that, shuffled and cut to N.
    """
    members = [np.flatnonzero(assignment == label) for label in np.unique(assignment)]
    quota = len(assignment) // len(members) + 1
    drawn = np.concatenate(
        [rng.choice(group, quota, replace=len(group) <= quota) for group in members]
    )
    return rng.permutation(drawn)[: len(assignment)]
