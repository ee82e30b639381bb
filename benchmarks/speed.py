"""Speed of training, likelihood, sampling, reconstruction and the judge on this machine, as a
Markdown table; --profile shows the parts of a step.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import (
    PLANNED,
    Bench,
    Done,
    as_json,
    machine,
    markdown,
    number,
    options_of,
    parser,
    run_one,
    spread,
    start,
    tokenised,
)
from operations import (
    chain_macs,
    decoder_macs,
    encoder_macs,
    energy_macs,
    matrix_size,
    output_layer,
)
from step_profile import profile

from ldebm.data.batches import collate
from ldebm.data.corpus import Split
from ldebm.data.vocabulary import EOS, PAD
from ldebm.evaluation.inference import reconstructions
from ldebm.evaluation.likelihood import estimators
from ldebm.metrics.judge_training import learn
from ldebm.metrics.judge_training import start as start_judge
from ldebm.metrics.reverse_perplexity import batchify, stream
from ldebm.models.sentence import SentenceModel, sentence_generator
from ldebm.runtime import device as devices

Run = Callable[[], Done]
SAMPLES = 46_000  # that a model is judged by
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
NEVER = -1e4  # a logit


@dataclass(frozen=True)
class Row:
    """A row of the table: its label, what makes a run of it, whether there is a plain reference."""

    label: str
    build: Callable[[Bench], Run]
    compared: bool = True


def training(
    key: str, samples: int, bucket: int, batch: int | None = None
) -> Callable[[Bench], Run]:
    """Training steps of `models.<key>`; a step is the unit."""

    def build(bench: Bench) -> Run:
        trainer = bench.trainer(key, batch or bench.options["batch"], samples, bucket)
        return bench.steps(trainer, bench.options["steps"])

    return build


def likelihood(key: str, estimator: str) -> Callable[[Bench], Run]:
    """The log-likelihood of test sentences, chosen evenly from short to long.

    A sentence is the unit.
    """

    def build(bench: Bench) -> Run:
        model, settings, test = bench.model(key).eval(), bench.params.evaluation, bench.corpus.test
        chosen = spread(np.minimum(test.lengths, bench.max_tokens - 2), bench.options["sentences"])
        batches = [
            collate(test, np.array([index]), bench.max_tokens, bench.device) for index in chosen
        ]
        draws, levels = (
            settings.likelihood_samples,
            getattr(getattr(model.prior, "schedule", None), "levels", 0),
        )
        tokens = sum(int(batch.lengths.sum()) for batch in batches)
        read = (tokens + len(batches)) * encoder_macs(model)
        macs = read + draws * (
            tokens * decoder_macs(model) + len(batches) * levels * energy_macs(model)
        )

        @torch.no_grad()
        def run() -> Done:
            for batch, index in zip(batches, chosen, strict=True):
                generator = sentence_generator(settings.seed, int(index))
                estimators(model)[estimator](
                    model, batch, draws, settings.likelihood_chunk, generator
                )
            return Done(len(batches), tokens, macs)

        return run

    return build


def sampling(bench: Bench, chain: bool, decode: bool) -> Run:
    """Sentences from the prior, or one half of that work; 46,000 sentences are the unit."""
    model, generator, count = generating(bench), bench.generator(), bench.options["samples"]
    given = model.prior.sample(count, generator).detach()
    levels = getattr(getattr(model.prior, "schedule", None), "levels", 1)

    @torch.no_grad()
    def run() -> Done:
        z = model.prior.sample(count, generator) if chain else given
        ids = model.decoder.decode(z, bench.max_tokens) if decode else torch.empty(0)
        tokens = int((ids != PAD).sum())
        macs = tokens * decoder_macs(model) + chain * count * levels * chain_macs(model)
        return Done(count / SAMPLES, tokens, macs)

    return run


def reconstruction(bench: Bench) -> Run:
    """Greedy reconstruction; the whole test set is the unit."""
    model, test = generating(bench), bench.corpus.test
    part = Split(test.tokens, test.offsets[: (bench.options["test"] or len(test)) + 1])
    read = int((np.minimum(part.lengths, bench.max_tokens - 2) + 2).sum())

    def run() -> Done:
        texts = reconstructions(bench.context("ldebm"), model, part)
        tokens = sum(min(len(text.split()) + 1, bench.max_tokens) for text in texts)
        return Done(
            len(part) / len(test), tokens, read * encoder_macs(model) + tokens * decoder_macs(model)
        )

    return run


def generating(bench: Bench) -> SentenceModel:
    """The trained model named by --model, else an LDEBM that never ends a sentence.

    The worst case.
    """
    if bench.options["model"]:
        folder = Path(bench.options["model"])
        key = folder.resolve().parent.name
        return bench.model(key, weights=folder / "model.safetensors").eval()
    model = bench.model("ldebm").eval()
    weight, _ = output_layer(model)
    output = torch.nn.Linear(*reversed(weight.shape), device=weight.device)
    output.weight = weight
    with torch.no_grad():
        output.bias.zero_()[[EOS, PAD]] = NEVER
    model.decoder.output = output
    return model


def judge(bench: Bench) -> Run:
    """Training steps of the judge; a sequence of `judge.bptt` words in every column is the unit."""
    precision = devices.precision(bench.options["precision"], bench.device.type)
    # there is no emulated LSTM
    settings = bench.params.judge.model_copy(update={"precision": precision})
    started = start_judge(
        len(bench.corpus.vocabulary), settings, bench.params.judge.seed, bench.device
    )
    wanted, train = settings.bptt * bench.options["steps"] + 2, bench.corpus.train
    # none is shorter than </s>
    sentences = [train[i] for i in range(min(len(train), wanted * settings.batch))]
    columns = batchify(stream(sentences, EOS), settings.batch)[:wanted].to(bench.device)
    each = matrix_size(*started.model.layers) + started.model.embedding.numel()

    def run() -> Done:
        words = learn(started, columns, settings)[1]
        return Done(words / (settings.bptt * settings.batch), words, 3 * words * each)

    return run


def product(bench: Bench) -> Run:
    """Products of two square matrices, large enough that the machine does its best."""
    size = bench.options["product"] or (8192 if bench.device.type == "cuda" else 2048)
    matrix = torch.randn(size, size, device=bench.device).to(PRECISIONS[bench.options["precision"]])

    def run() -> Done:
        for _ in range(10):
            matrix @ matrix
        return Done(10, 0, 10 * size**3)

    return run


ROWS = {
    "ldebm_bucketed": Row(
        "LDEBM training step, batches of similar length", training("ldebm", 1, PLANNED)
    ),
    "ldebm_plain": Row("LDEBM training step, batches as they come", training("ldebm", 1, 1)),
    "di_vae": Row(
        "DI-VAE training step, batches of similar length", training("di_vae", 1, PLANNED)
    ),
    "gm_vae": Row(
        "GM-VAE training step, the same, 1 posterior sample", training("gm_vae", 1, PLANNED)
    ),
    "vae": Row("VAE training step, the same, 1 posterior sample", training("vae", 1, PLANNED)),
    "vae_20": Row(
        "VAE training step, batch 30, 20 posterior samples, as they come",
        training("vae", 20, 1, 30),
    ),
    "nll_vae": Row("NLL of a sentence, VAE", likelihood("vae", "nll_importance")),
    "nll_ldebm": Row(
        "NLL of a sentence, LDEBM, published estimator", likelihood("ldebm", "nll_published")
    ),
    "samples": Row("46,000 samples, decoding included", partial(sampling, chain=True, decode=True)),
    "samples_chain": Row("– their latent vectors", partial(sampling, chain=True, decode=False)),
    "samples_decode": Row("– their decoding", partial(sampling, chain=False, decode=True)),
    "reconstruction": Row("greedy reconstruction of the test set", reconstruction),
    "judge": Row("judge training step", judge, compared=False),
}
PEAK = Row("product of two square matrices", product)


def work(options: dict[str, Any]) -> dict[str, Any]:
    """Measure one row, or profile one model's step."""
    bench = Bench.open(options)
    if options["profiled"]:
        return profile(bench, options["profiled"])
    return as_json(bench.measure((ROWS | {"peak": PEAK})[options["row"]].build(bench)))


def report(arguments: argparse.Namespace) -> dict[str, Any]:
    """Print the machine, and for each precision its table."""
    print(machine(arguments.threads, arguments.device) + "\n")
    precisions = list(PRECISIONS) if arguments.precision == "both" else [arguments.precision]
    everything: dict[str, Any] = {}
    with tokenised(Path(arguments.corpus)) as tokens:
        for precision in precisions:
            options = options_of(
                arguments, corpus=str(tokens), precision=precision, profiled=None, row="peak"
            )
            peak = run_one(work, options)
            print(
                f"{precision}: {peak['flops'] / 1e9:,.0f} GFLOP/s in products of square matrices\n",
                flush=True,
            )
            tables = profiles if arguments.profile else rows
            everything[precision] = {"peak": peak} | tables(options, peak["flops"])
    if not arguments.profile:
        print(NOTES + (WORST_CASE if not arguments.model else ""))
    return everything


def rows(options: dict[str, Any], peak: float) -> dict[str, Any]:
    """Measure and print the rows asked for."""
    names = options["rows"].split(",") if options["rows"] else list(ROWS)
    figures = {name: measured(options | {"row": name}) for name in names}
    header = [
        "work",
        "seconds",
        "plain reference",
        "times as fast",
        "tokens/s",
        "peak memory, GB",
        "share of peak",
    ]
    print(
        markdown(header, [_line(ROWS[name], figures[name], peak) for name in names]) + "\n",
        flush=True,
    )
    return figures


def measured(options: dict[str, Any]) -> dict[str, Any]:
    """A row's figures and, one after the other in the same run, those of the plain reference."""
    figures = run_one(work, options)
    if ROWS[options["row"]].compared and not options["no_reference"]:
        figures["reference"] = run_one(work, options | {"plain": True})
    return figures


def _line(row: Row, figures: dict[str, Any], peak: float) -> list[str]:
    seconds, plain = figures["seconds"], figures.get("reference", {}).get("seconds")
    gained = None if plain is None else plain / seconds
    tokens = number(figures["tokens_per_second"] or None)
    memory = f"{figures['memory'] / 1e9:.2f}"
    return [
        row.label,
        number(seconds),
        number(plain),
        number(gained),
        tokens,
        memory,
        f"{figures['flops'] / peak:.1%}",
    ]


def profiles(options: dict[str, Any], peak: float) -> dict[str, Any]:
    """Profile and print a step of LDEBM and one of DI-VAE."""
    found = {key: run_one(work, options | {"profiled": key}) for key in ("ldebm", "di_vae")}
    for key, parts in found.items():
        whole = parts["step"]["seconds"]
        lines = [
            [
                name,
                number(part["seconds"] * 1e3),
                f"{part['seconds'] / whole:.1%}",
                _share(part, peak),
            ]
            for name, part in parts.items()
        ]
        print(
            markdown(
                [f"{key}, batch {options['batch']}", "ms", "share of step", "share of peak"], lines
            )
            + "\n"
        )
    return found


def _share(part: dict[str, float], peak: float) -> str:
    return f"{2 * part['macs'] / part['seconds'] / peak:.1%}" if part["macs"] else ""


NOTES = (
    "The plain reference (reference.py) ran right after each row, in the same precision, denormal "
    "numbers not flushed, as PyTorch\n"
    "starts. Seconds are medians; 46,000 samples are extrapolated. Memory is the whole process's, "
    "on CUDA what was allocated\n"
    "there. Operations are counted by formula at real tokens, so padding lowers the share of the "
    "peak.\n"
)
WORST_CASE = (
    "No trained model was given (--model): untrained ones never end a sentence, so every decoded "
    "one has all its tokens, the worst case.\n"
)


def main() -> None:
    """Read the command line."""
    made = parser(__doc__, "data/tokens")
    made.add_argument("--precision", default="float32", choices=[*PRECISIONS, "both"])
    made.add_argument("--rows", help=f"of {','.join(ROWS)}; default: all")
    made.add_argument(
        "--no-reference", action="store_true", help="leave out the plain reference, the longer half"
    )
    made.add_argument(
        "--profile", action="store_true", help="where the time of a training step goes, instead"
    )
    made.add_argument(
        "--model",
        help="a trained model's folder models/<key>/seed<n>, for sampling and reconstruction",
    )
    made.add_argument("--steps", type=int, default=10, help="training steps a repeat")
    made.add_argument(
        "--sentences", type=int, default=20, help="sentences whose likelihood a repeat estimates"
    )
    made.add_argument("--samples", type=int, default=1000, help="samples a repeat draws")
    made.add_argument("--test", type=int, help="test sentences a repeat reconstructs; default: all")
    made.add_argument(
        "--product", type=int, help="rows of the matrices whose product sets the peak"
    )
    start(work, report, made.parse_args())


if __name__ == "__main__":
    main()
