"""How time and memory grow with the corpus, the vocabulary and the number of latent samples, as
Markdown tables with log-log slopes.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import (
    PLANNED,
    Bench,
    Done,
    machine,
    markdown,
    number,
    options_of,
    parser,
    peak_memory,
    run_one,
    spread,
    start,
    texts,
    tokenised,
)

from ldebm.data.batches import collate
from ldebm.data.corpus import Split, tokenize
from ldebm.evaluation.likelihood import importance_sampled
from ldebm.models.sentence import sentence_generator

MEGABYTE = 1e6
Point = dict[str, float]
SAMPLE_BATCH = 30  # sentences of a step with several posterior samples


def tokenise(options: dict[str, Any]) -> Point:
    """Tokenise the repeated text that `repeated` wrote."""
    folder = Path(options["repeated"])
    began = time.perf_counter()
    tokenize(folder / "raw", folder / "tokens", None)
    return {
        "tokenise, s": time.perf_counter() - began,
        "tokenise, peak MB": _megabytes(torch.device("cpu")),
    }


def steps(options: dict[str, Any]) -> Point:
    """A fixed number of training steps on the repeated corpus."""
    bench = Bench.open(options)
    trainer = bench.trainer("di_vae", options["batch"], 1, PLANNED)
    return _seconds_and_memory(
        f"{options['steps']} DI-VAE steps", bench, bench.steps(trainer, options["steps"])
    )


def plan(options: dict[str, Any]) -> Point:
    """Plan an epoch of LDEBM: posterior modes of every sentence, clusters, a balanced order,
    buckets. Once, for it is long.
    """
    bench = Bench.open(options)
    trainer = bench.trainer("ldebm", options["batch"], 1, PLANNED)
    began = time.perf_counter()
    trainer._start_epoch()
    name = "plan an LDEBM epoch"
    return {f"{name}, s": time.perf_counter() - began, f"{name}, peak MB": _megabytes(bench.device)}


def vocabulary(options: dict[str, Any]) -> Point:
    """A training step with another number of word types; rarer words become the last type."""
    bench, types = Bench.open(options), options["size"]
    train = bench.corpus.train
    limited = Split(np.minimum(train.tokens, types - 1), train.offsets)
    bench = replace(bench, corpus=replace(bench.corpus, train=limited))
    trainer = bench.trainer("di_vae", options["batch"], 1, PLANNED, types)
    return _seconds_and_memory(
        f"{options['steps']} DI-VAE steps", bench, bench.steps(trainer, options["steps"])
    )


def likelihood(options: dict[str, Any]) -> Point:
    """The VAE's importance-sampled likelihood of one test sentence of median length."""
    bench, draws = Bench.open(options), options["size"]
    model, test = bench.model("vae").eval(), bench.corpus.test
    batch = collate(test, spread(test.lengths, 1), bench.max_tokens, bench.device)

    @torch.no_grad()
    def run() -> Done:
        chunk = bench.params.evaluation.likelihood_chunk
        importance_sampled(model, batch, draws, chunk, sentence_generator(1, 0))
        return Done(1)

    return _seconds_and_memory("NLL of a sentence", bench, run)


def posterior_samples(options: dict[str, Any]) -> Point:
    """A VAE's training steps with several posterior samples a sentence."""
    bench = Bench.open(options)
    trainer = bench.trainer("vae", SAMPLE_BATCH, options["size"], 1)
    return _seconds_and_memory(
        f"{options['steps']} VAE steps", bench, bench.steps(trainer, options["steps"])
    )


WORK: dict[str, Callable[[dict[str, Any]], Point]] = {
    work.__name__: work
    for work in (tokenise, steps, plan, vocabulary, likelihood, posterior_samples)
}


def work(options: dict[str, Any]) -> Point:
    """One point."""
    return WORK[options["work"]](options)


def _seconds_and_memory(name: str, bench: Bench, run: Callable[[], Done]) -> Point:
    figures = bench.measure(run)
    units = bench.options["steps"] if name.endswith("steps") else 1
    return {f"{name}, s": figures.seconds * units, f"{name}, peak MB": figures.memory / MEGABYTE}


def _megabytes(device: torch.device) -> float:
    return peak_memory(device) / MEGABYTE


def corpus_point(options: dict[str, Any]) -> Point:
    """Every quantity at `size` times the training text, each in a process of its own."""
    with tempfile.TemporaryDirectory() as temporary:
        repeat(Path(options["corpus"]), Path(temporary, "raw"), options["size"])
        repeated = options | {"repeated": temporary}
        point = run_one(work, repeated | {"work": "tokenise"})
        for name in ("steps", "plan"):
            point |= run_one(
                work, repeated | {"work": name, "corpus": str(Path(temporary, "tokens"))}
            )
    return point


def repeat(folder: Path, raw: Path, times: int) -> None:
    """The texts of `folder`, the training text `times` over."""
    raw.mkdir()
    for split, path in texts(folder).items():
        text = path.read_bytes()
        with (raw / f"{split}.txt").open("wb") as file:
            for _ in range(times if split == "train" else 1):
                file.write(text)


def slope(sizes: list[int], values: list[float]) -> float:
    """The exponent of growth: the least-squares slope of log value over log size."""
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def table(title: str, sizes: list[int], measure: Callable[[int], Point]) -> dict[str, Any]:
    """Measure every size; print a row a quantity, with its slope."""
    points = [measure(size) for size in sizes]
    found = {name: [point[name] for point in points] for name in points[0]}
    lines = [
        [name, *map(number, values), f"{slope(sizes, values):.2f}"]
        for name, values in found.items()
    ]
    print(markdown([title, *(f"{size:,}" for size in sizes), "slope"], lines) + "\n", flush=True)
    return {"sizes": sizes, **found}


def report(arguments: argparse.Namespace) -> dict[str, Any]:
    """Print the machine and the tables asked for."""
    print(machine(arguments.threads, arguments.device) + "\n")
    wanted = arguments.tables.split(",")
    found: dict[str, Any] = {}
    options = options_of(arguments)
    if "corpus" in wanted:
        found["corpus"] = table(
            "times the training text",
            arguments.sizes,
            lambda size: corpus_point(options | {"size": size}),
        )
    with tokenised(Path(arguments.corpus)) as tokens:

        def measure(name: str) -> Callable[[int], Point]:
            return lambda size: run_one(
                work, options | {"work": name, "size": size, "corpus": str(tokens)}
            )

        if "vocabulary" in wanted:
            found["vocabulary"] = table("word types", arguments.types, measure("vocabulary"))
        if "samples" in wanted:
            title = f"posterior samples, batch {SAMPLE_BATCH}"
            found["likelihood_samples"] = table(
                "importance samples", arguments.draws, measure("likelihood")
            )
            found["posterior_samples"] = table(
                title, arguments.posterior, measure("posterior_samples")
            )
    print(
        "A slope of 1 is growth in proportion, of 0 none. Memory is the process's peak, PyTorch "
        "itself included.\n"
    )
    return found


def numbers(text: str) -> list[int]:
    """1,2,4 -> [1, 2, 4]."""
    return [int(part) for part in text.split(",")]


def main() -> None:
    """Read the command line."""
    made = parser(__doc__, "data/raw")
    made.add_argument("--tables", default="corpus,vocabulary,samples")
    made.add_argument("--precision", default="float32", choices=["float32", "bfloat16"])
    made.add_argument("--steps", type=int, default=10, help="training steps a repeat")
    made.add_argument(
        "--sizes", type=numbers, default=[1, 2, 4, 8], help="repetitions of the training text"
    )
    made.add_argument(
        "--types", type=numbers, default=[2500, 5000, 10000, 20000], help="vocabulary sizes"
    )
    made.add_argument(
        "--draws", type=numbers, default=[125, 250, 500, 1000], help="importance samples"
    )
    made.add_argument("--posterior", type=numbers, default=[1, 5, 20], help="posterior samples")
    start(work, report, made.parse_args())


if __name__ == "__main__":
    main()
