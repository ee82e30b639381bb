"""The diagnostics below the table: paired differences by hand, and rows without any."""

import statistics
from typing import Any

from ldebm.report import diagnostics
from ldebm.report.results import read_results
from ldebm.report.write import write_results


def sentences(runs: Any, model: str, seed: int, text: str) -> None:
    (runs.folder("likelihoods", model, seed) / "sentences.csv").write_text(text)


def test_paired_differences_and_figures(runs: Any, make_params: Any) -> None:
    runs.run("vae", scores={"gap": 0.125, "effective_chains": 3.25})
    sizes = {"generated_norm": 1.5, "posterior_norm": 2.5, "posterior_energy": -3.0}
    runs.run("svebm", scores={"prior_fit": 4.5, "generated_energy": -2.0, **sizes})
    runs.run("ae", scores={})
    sentences(runs, "vae", 1, "sentence,nll\n7,20.0\n3,22.0\n5,25.0\n")
    sentences(runs, "svebm", 1, "sentence,nll,nll_importance\n3,23.0,1\n7,23.0,1\n5,27.0,1\n")
    sentences(runs, "ae", 1, "sentence\n7\n3\n5\n")
    params = make_params({"vae": "VAE", "svebm": "SVEBM", "ae": "AE"})
    write_results(params, runs.root, runs.root / "results")
    text = (runs.root / "results/table.md").read_text(encoding="utf-8")
    below = text.partition("diagnostics")[2].splitlines()
    rows = {
        line.split(" | ")[0].strip("| "): [cell.strip(" |") for cell in line.split(" | ")[1:]]
        for line in below
        if line.startswith("|")
    }
    assert set(rows) == {"Row", ":--", "VAE", "SVEBM"}
    found = {name: dict(zip(rows["Row"], rows[name], strict=True)) for name in ("VAE", "SVEBM")}
    assert found["VAE"]["NLL - VAE"] == ""
    assert (found["VAE"]["gap"], found["VAE"]["effective chains"]) == ("0.12", "3.2")
    error = statistics.stdev([3.0, 1.0, 2.0]) / 3**0.5
    assert found["SVEBM"]["NLL - VAE"] == f"2.00 ± {error:.2f} s.e."
    assert (found["SVEBM"]["prior fit"], found["SVEBM"]["energy, generated"]) == ("4.5", "-2.0")
    assert (found["SVEBM"]["norm, generated"], found["SVEBM"]["norm, posterior"]) == ("1.5", "2.5")
    assert found["SVEBM"]["energy, posterior"] == "-3.0"


def test_over_seeds_the_differences_have_a_spread(runs: Any, make_params: Any) -> None:
    for seed, more in {1: 1.0, 2: 3.0}.items():
        for model, nll in {"vae": 20.0 * seed, "dvae": 20.0 * seed + more}.items():
            runs.run(model, seed, scores={})
            sentences(runs, model, seed, f"sentence,nll\n1,{nll}\n2,{nll + 1}\n")
    params = make_params({"vae": "VAE", "dvae": "DVAE"}, seeds=[1, 2])
    lines = diagnostics.markdown(read_results(params, runs.root))
    assert lines[-2].startswith("| DVAE | 2.00 ± 1.41 |")


def test_without_likelihoods_there_is_no_table(runs: Any, make_params: Any) -> None:
    runs.run("vae", scores={"nll": 20.0})
    found = read_results(make_params({"vae": "VAE"}), runs.root)
    assert diagnostics.markdown(found) == []
