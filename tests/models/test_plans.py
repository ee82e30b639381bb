import numpy as np
import pytest

from ldebm.models.plans import balanced_order, bucketed, cluster, geometric_clusters, shuffled


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(1)


def test_shuffled_takes_each_sentence_once(rng: np.random.Generator) -> None:
    plan = shuffled(100, rng, lambda: pytest.fail("no modes are needed"))
    assert sorted(plan.order) == list(range(100))
    assert plan.labels is None
    assert list(plan.order) != list(range(100))


def directions(
    rng: np.random.Generator, count: int = 60, clusters: int = 4
) -> tuple[np.ndarray, np.ndarray]:
    """Points along well-separated directions of three dimensions, of any length, after which
    clusters are recovered exactly.
    """
    axes = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]][:clusters], float)
    label = np.repeat(np.arange(clusters), count)
    points = axes[label] * rng.uniform(0.5, 3, (len(label), 1)) + 0.02 * rng.normal(
        size=(len(label), 3)
    )
    return points @ rng.normal(size=(3, 8)), label


def test_clusters_are_directions_not_distances(rng: np.random.Generator) -> None:
    points, label = directions(rng)
    found = cluster(points, 4, 3, 20, seed=3)
    pairs = set(zip(label.tolist(), found.tolist(), strict=True))
    assert len(pairs) == len({one for one, _ in pairs}) == len({other for _, other in pairs}) == 4


def test_clustering_is_deterministic_from_its_seed(rng: np.random.Generator) -> None:
    points = rng.normal(size=(500, 10))
    assert (cluster(points, 20, 3, 20, seed=1) == cluster(points, 20, 3, 20, seed=1)).all()


def test_balanced_order_draws_equally_and_repeats_only_in_small_clusters(
    rng: np.random.Generator,
) -> None:
    assignment = np.repeat([0, 1, 5], [80, 15, 5])  # N = 100, k = 3, quota 34
    order = balanced_order(assignment, rng)
    assert len(order) == 100
    drawn = np.bincount(assignment[order], minlength=6)
    assert drawn[[0, 1, 5]].sum() == 100
    assert (np.abs(drawn[[0, 1, 5]] - 34) <= 2).all()  # 102 drawn, 2 cut after the shuffle
    from_large = order[assignment[order] == 0]
    assert len(set(from_large)) == len(from_large)


def test_plan_labels_belong_to_their_sentences(rng: np.random.Generator) -> None:
    points, _ = directions(rng)
    plan = geometric_clusters(4, 3, 20)(len(points), rng, lambda: points)
    assignment = cluster(points, 4, 3, 20, 0)
    assert (plan.labels == assignment[plan.order]).all()
    assert plan.figures["clusters"] == 4
    assert plan.figures["clustering_seconds"] > 0
    turned = plan.arranged(np.arange(len(points))[::-1])
    assert (turned.labels == assignment[turned.order]).all()


def test_buckets_hold_similar_lengths_and_lose_nothing(rng: np.random.Generator) -> None:
    lengths = rng.integers(1, 39, 1005)
    places = bucketed(lengths, 10, 20, rng)
    assert sorted(places) == list(range(1005))
    spread = [np.ptp(lengths[places[start : start + 10]]) for start in range(0, 1000, 10)]
    assert np.mean(spread) < 5 < np.ptp(lengths[:10])
    assert max(places[:200]) < 200  # sentences stay in their window
    first = lengths[places[:200]].reshape(20, 10).mean(1)
    assert (np.diff(first) < 0).any()  # batches are shuffled, not sorted


def test_a_bucket_of_one_batch_changes_nothing(rng: np.random.Generator) -> None:
    assert list(bucketed(rng.integers(1, 9, 7), 2, 1, rng)) == list(range(7))


def test_k_means_starts_from_one_random_choice_of_points(rng: np.random.Generator) -> None:
    """Lloyd's algorithm written out, from points drawn as scikit-learn's `init="random"` draws
    them.
    """
    points = rng.normal(size=(300, 5))
    centred = points - points.mean(0)
    u, _, _ = np.linalg.svd(centred, full_matrices=False)
    directions = u[:, :3] / np.linalg.norm(u[:, :3], axis=1, keepdims=True)
    random = np.random.RandomState(0)
    centres = directions[random.choice(300, size=7, replace=False, p=np.full(300, 1 / 300))]
    for _ in range(20):
        nearest = ((directions[:, None] - centres) ** 2).sum(-1).argmin(1)
        centres = np.stack([directions[nearest == k].mean(0) for k in range(7)])
    by_hand = ((directions[:, None] - centres) ** 2).sum(-1).argmin(1)
    found = cluster(points, 7, 3, 20, seed=0)
    # k-means++ from the same seed ends elsewhere; rounding may move a point on a border
    assert (by_hand == found).mean() > 0.99


def test_a_cluster_of_just_the_quota_is_drawn_with_replacement() -> None:
    """As published: ⌊4/2⌋ + 1 of a cluster of 3, so that one of it may come twice."""
    assignment = np.array([0, 0, 0, 1])
    orders = [balanced_order(assignment, np.random.default_rng(seed)) for seed in range(20)]
    assert any(np.bincount(order[order < 3]).max() > 1 for order in orders if (order < 3).any())


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.filterwarnings("error")
def test_fewer_sentences_than_dimensions_have_clusters_too(count: int) -> None:
    points = np.arange(5.0 * count).reshape(count, 5)
    assert len(cluster(points, 4, 3, 20, 0)) == count
