"""The page: every row and value of the files is on it, nothing from outside, and not too much."""

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from shipped import shipped_parameters

from ldebm.data.corpus import tokenize
from ldebm.report import interpretability, page, settings
from ldebm.report.results import published_table, read_results

ROWS = {"rnn_lm": "RNN-LM", "vae": "VAE", "dgm_vae": "DGM-VAE", "ldebm": "LDEBM"}
SIXTEEN = {f"m{number}": row for number, row in enumerate(published_table()) if row != "TEST SET"}
SAMPLES = ["the <unk> said </li><script>alert(1)</script> .", 'a & "b"', ""]


class Page(HTMLParser):
    """The text of a page: all of it, that of each table's cells, and that below each id."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tables: list[list[list[str]]] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.items: list[str] = []
        self.within: list[str] = []
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
        elif tag == "li":
            self.items.append("")
        if tag in ("td", "th", "li", "small"):
            self.within.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self.within and self.within[-1] == tag:
            self.within.pop()

    def handle_data(self, data: str) -> None:
        if "li" in self.within:
            self.items[-1] += data
        elif self.within[-1:] == ["small"]:
            self.tables[-1][-1][-1] += f" | {data}"
        elif self.within:
            self.tables[-1][-1][-1] += data

    def table(self, heading: str) -> list[dict[str, str]]:
        """Rows of the first table with that heading, by heading."""
        (head, *rows) = next(one for one in self.tables if heading in one[0])
        return [dict(zip(head, row, strict=True)) for row in rows]


def made(runs: Any, params: Any, commands: Any = None) -> Page:
    """The page of hand-made runs, which `samples` has sentences of."""
    for kind in params.models:
        for seed in params.seeds:
            folder = runs.folder("samples", kind, seed)
            folder.mkdir(parents=True, exist_ok=True)
            lines = [*SAMPLES, *(f"sentence {number} of {kind}" for number in range(50))]
            (folder / "samples.txt").write_text("".join(f"{line}\n" for line in lines))
    return written(runs, params, commands)


def written(runs: Any, params: Any, commands: Any = None) -> Page:
    """The page of the runs as they are."""
    path = runs.root / "report.html"
    found = read_results(params, runs.root)
    meanings = interpretability.rows(
        found, interpretability.read_attributes(runs.root / "data/raw")
    )
    page.write(params, found, meanings, runs.root, commands or {}, path)
    return Page(path)


def latents(seed: int, count: int = 60) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    probs = rng.dirichlet(np.ones(6), size=(count, 1))
    modes = rng.normal(size=(count, 5))
    return {
        "modes": modes, "probs": probs, "valid_probs": probs[:1], "codes": probs.argmax(2),
    }  # fmt: skip


def run_all(runs: Any, rows: Any, seeds: Any = (1,)) -> None:
    for place, (key, row) in enumerate(rows.items()):
        for seed in seeds:
            has = row != "RNN-LM"
            scores = {"bleu": 3.0 + place, "wkl": 0.125 * (1 + place)}
            found = latents(place, 2) if has else None
            runs.run(key, seed, rppl=200.0 + 7 * place + seed, scores=scores, latents=found)
            nll = {"nll": 30.0 + place + seed, "nll_standard_error": 0.25}
            runs.json("likelihoods", key, seed, "scores.json", nll)


def test_every_value_of_the_files_stands_in_the_table(runs: Any, make_params: Any) -> None:
    run_all(runs, ROWS)
    found = made(runs, make_params(ROWS, corpus="ptb"))
    rows = found.table("Weights")
    assert [row["Model"] for row in rows] == ["TEST SET", *ROWS.values()]
    decimals = {"rPPL\u00a0↓": ("rppl", 2), "BLEU\u00a0↑": ("bleu", 2), "wKL\u00a0↓": ("wkl", 3)}
    for row, (key, name) in zip(rows[1:], ROWS.items(), strict=True):
        scores: dict[str, float] = {}
        for kind in ("judgements", "evaluations", "likelihoods"):
            path = runs.folder(kind, key, 1) / "scores.json"
            scores |= json.loads(path.read_text())
        for heading, (metric, places) in decimals.items():
            printed = published_table()[name].get(metric)
            paper = "" if printed is None else f" | paper {printed:.2f}"
            assert row[heading] == f"{scores[metric]:.{places}f}{paper}"
        assert row["NLL\u00a0↓"].split(" | ")[0] == f"{scores['nll']:.2f} ± 0.25 s.e."
        assert row["Weights"] == "1,023"


def test_claims_have_their_intervals_and_verdicts(runs: Any, make_params: Any) -> None:
    run_all(runs, ROWS, (1, 2, 3))
    found = made(runs, make_params(ROWS, seeds=[1, 2, 3]))
    claims = {row["Claim"]: row for row in found.table("Verdict")}
    row = claims["LDEBM improves on VAE | LDEBM over VAE, by rPPL"]
    # 14 worse; standard errors of 1, 2, 3: 1/√3 each, t of 4 degrees of freedom 2.776
    assert row["Difference"] == f"\u221214 ± {2.776 * (2 / 3) ** 0.5:.2g}"
    assert row["Verdict"] == "fails"
    assert claims["LDEBM improves on VAE | LDEBM over VAE, by BLEU"]["Verdict"] == "holds"


def test_large_differences_of_claims_are_written_out(runs: Any, make_params: Any) -> None:
    for seed, spread in enumerate((-1, 0, 1), 1):
        runs.run("vae", seed, rppl=1000.0 + 100 * spread)
        runs.run("ldebm", seed, rppl=450.0 + 50 * spread)
    found = made(runs, make_params({"vae": "VAE", "ldebm": "LDEBM"}, seeds=[1, 2, 3]))
    rows = {row["Claim"]: row for row in found.table("Verdict")}
    said = rows["LDEBM improves on VAE | LDEBM over VAE, by rPPL"]["Difference"]
    # standard errors 100/√3 and 50/√3; Welch: 2.941 degrees of freedom, t 3.219
    assert said == f"+550 ± {3.219 * (12500 / 3) ** 0.5:.0f}"


def test_samples_are_the_first_ones_and_nothing_in_them_is_markup(
    runs: Any, make_params: Any
) -> None:
    run_all(runs, ROWS)
    found = made(runs, make_params(ROWS))
    assert found.items.count(SAMPLES[0]) == len(ROWS)
    assert "a a b" in found.items  # of the training text
    for key in ROWS:
        own = [item for item in found.items if item.endswith(f" of {key}")]
        assert own == [f"sentence {number} of {key}" for number in range(7)]
    assert [tag for tag, _ in found.tags].count("script") == 1  # ours
    assert "&lt;unk&gt;" in found.source


def test_nothing_is_loaded_from_anywhere(runs: Any, make_params: Any) -> None:
    run_all(runs, ROWS)
    found = made(runs, make_params(ROWS))
    assert "http" not in found.source
    assert "url(" not in found.source
    links = [value for _, own in found.tags for key, value in own.items() if key in ("src", "href")]
    assert {str(link)[:1] for link in links} == {"#", "d"}
    assert {one for one in links if one and one.startswith("d")} == {"data:,"}
    targets = {own.get("id") for _, own in found.tags}
    assert {str(link)[1:] for link in links if str(link).startswith("#")} <= targets


def test_pictures_and_headings_are_named_for_those_who_do_not_see(
    runs: Any, make_params: Any
) -> None:
    run_all(runs, ROWS)
    found = made(runs, make_params(ROWS))
    pictures = [own for tag, own in found.tags if tag == "svg"]
    assert len(pictures) > 10
    assert all(own.get("aria-label") or own.get("aria-hidden") for own in pictures)
    assert all(own.get("scope") in ("row", "col") for tag, own in found.tags if tag == "th")


def test_all_rows_with_much_of_everything_stay_small(runs: Any, make_params: Any) -> None:
    (runs.root / "data/raw/test.txt").write_text("".join(f"a b {'b ' * 30}\n" for _ in range(900)))
    shutil.rmtree(runs.root / "data/tokens")
    tokenize(runs.root / "data/raw", runs.root / "data/tokens", None)
    (runs.root / "data/raw/test.attributes.csv").unlink()
    history = [
        {"step": s, "epoch": s / 10, "loss": 90.123 - s / 50, "valid_loss": 91.0, "kl": 1.0}
        for s in range(1, 2001)
    ]
    rng = np.random.default_rng(0)
    for place, key in enumerate(SIXTEEN):
        runs.run(key, history=history, latents=latents(place, 900))
        vectors = {name: rng.normal(size=(1000, 2)) for name in ("generated", "posterior")}
        np.savez(runs.folder("likelihoods", key, 1) / "vectors.npz", **vectors)
    found = made(runs, make_params(SIXTEEN, corpus="ptb"))
    assert len(found.source.encode()) < 3_000_000
    assert [row["Model"] for row in found.table("Weights")][1:] == list(SIXTEEN.values())


def test_what_failed_or_is_missing_is_told_with_its_command(runs: Any, make_params: Any) -> None:
    run_all(runs, ROWS)
    params = make_params(ROWS)
    assert "Failed or missing" not in made(runs, params).source
    (runs.folder("samples", "vae", 1) / "samples.txt").unlink()
    runs.json("samples", "vae", 1, "failed.json", {"step": "train", "reason": "it <diverged>"})
    (runs.folder("samples", "ldebm", 1) / "samples.txt").unlink()
    commands = {("sample", key, 1): f"ldebm sample {key} --seed 1" for key in ROWS}
    text = written(runs, params, commands).source
    assert "VAE, seed 1: sample</h3>train: it &lt;diverged&gt;" in text
    assert "LDEBM, seed 1: sample</h3>not made yet<br><code>ldebm sample ldebm --seed 1<" in text


def test_every_cell_has_the_command_that_makes_it(runs: Any, make_params: Any) -> None:
    run_all(runs, ROWS)
    verbs = ("train", "sample", "judge", "evaluate", "likelihood")
    commands = {(verb, key, 1): f"ldebm {verb} {key} --seed 1" for key in ROWS for verb in verbs}
    found = made(runs, make_params(ROWS), commands)
    titles = [str(own["title"]) for tag, own in found.tags if tag == "td" and "title" in own]
    of_vae = [title.split()[1] for title in titles if title.split()[2] == "vae"]
    assert of_vae == ["judge", "evaluate", "evaluate", *["likelihood"] * 3]
    assert set(commands.values()) <= set(found.items)


def test_symbols_have_words_and_sentences(runs: Any, make_params: Any) -> None:
    codes = np.array([[2], [0]])  # of the test sentences `a b` and `b`
    probs = np.eye(3)[codes]
    own = {"modes": np.eye(2), "probs": probs, "valid_probs": probs[:1], "codes": codes}
    runs.run("ldebm", latents=own)
    source = made(runs, make_params({"ldebm": "LDEBM"})).source
    section = source.partition('<h2 id="symbols">')[2].partition("</section>")[0]
    cards = re.findall(r"<h3>(\d) .*?([\d.]+) %.*?words\">(.*?)<.*?<li>(.*?)</li>", section, re.S)
    assert cards == [("0", "50.0", "b", "b"), ("2", "50.0", "a b", "a b")]


def test_runs_that_know_less_of_themselves_are_shown_too(runs: Any, make_params: Any) -> None:
    runs.run("vae", history=[{"step": 10.0, "loss": 3.0}])
    runs.run("ldebm", record={"versions": {"torch": "9.9"}, "git_commit": "abc-dirty"})
    found = made(runs, make_params({"vae": "VAE", "ldebm": "LDEBM"}))
    assert "no history" in found.source
    assert "commit abc with changes" in found.source
    assert "torch 9.9" in found.source
    steps = {row["Model"]: row["Epochs"] for row in found.table("Precision")}
    assert steps == {"VAE": "2", "LDEBM": "2"}


def test_the_published_values_are_those_that_are_shipped() -> None:
    """Who changes a value in params.yaml for all, changes it in ldebm/report/published.yaml too."""
    path = Path(settings.__file__).with_name("published.yaml")
    kept, shipped = yaml.safe_load(path.read_text(encoding="utf-8")), shipped_parameters()
    for block in ("sentence_model", "models", "judge", "evaluation", "run"):
        assert kept[block] == shipped[block], block


def test_settings_that_differ_are_those_that_were_changed(make_params: Any) -> None:
    assert settings.differences(settings.published()) == []
    params = settings.published()
    vae = params.models["vae"]
    training = vae.training.model_copy(update={"batch": 7, "learning_rate": {"sentence": 0.5}})
    models = {
        **params.models,
        "vae": vae.model_copy(update={"training": training}),
        "mine": params.models["ae"].model_copy(update={"row": "AE", "latent_dim": 3}),
    }
    judge = params.judge.model_copy(update={"epochs": 2})
    annealed = params.evaluation.annealed.model_copy(update={"chains": 3})  # of no paper
    evaluation = params.evaluation.model_copy(
        update={"likelihood_sentences": 9, "annealed": annealed}
    )
    changed = {"models": models, "judge": judge, "evaluation": evaluation}
    found = settings.differences(params.model_copy(update=changed))
    assert [(one.key, one.here, one.published, one.rows) for one in found] == [
        ("judge.epochs", "2", "20", "all"),
        ("evaluation.likelihood_sentences", "9", "null", "all"),
        ("training.batch", "7", "30", "VAE"),
        ("training.learning_rate.sentence", "0.5", "0.001", "VAE"),
        ("latent_dim", "3", "40", "AE"),
    ]


def test_a_cell_names_the_commands_of_all_its_seeds(runs: Any, make_params: Any) -> None:
    for seed in (3, 4):
        runs.run("vae", seed)
    commands = {("judge", "vae", seed): f"ldebm judge vae --seed {seed}" for seed in (1, 3, 4)}
    params = make_params({"vae": "VAE"}, seeds=[3, 4])
    found = read_results(params, runs.root)
    rows = page.content(params, found, [], runs.root, commands)["rows"]
    assert rows[1]["cells"][0][2].splitlines() == [commands["judge", "vae", n] for n in (3, 4)]


def test_a_bound_is_a_bound_in_the_table_and_in_the_panel(runs: Any, make_params: Any) -> None:
    for key, falling in (("vae", 0.0), ("ldebm", 1.0)):
        runs.run(key, scores={"nll": 24.0 + falling, "still_falling": falling})
    found = made(runs, make_params({"vae": "VAE", "ldebm": "LDEBM"}))
    shown = [row["NLL\u00a0↓"].split(" |")[0] for row in found.table("Weights")[1:]]
    assert shown == ["24.00", "≤ 25.00"]
    assert found.source.count(">≤ 25.0</text>") == 1
    assert "NLL: ≤ 25.00" in found.source
    assert ">≤ 24.0<" not in found.source


def test_commands_that_are_not_known_are_not_promised(runs: Any, make_params: Any) -> None:
    runs.run("vae")
    assert "its own command is shown" not in made(runs, make_params({"vae": "VAE"})).source
    commands = {("train", "vae", 1): "ldebm train vae --seed 1"}
    assert "its own command is shown" in made(runs, make_params({"vae": "VAE"}), commands).source


def test_a_long_label_has_room_in_the_panels(runs: Any, make_params: Any) -> None:
    """Its text ends where it did before the scale, and begins inside the picture."""
    keys = ("ldebm", "a_key_of_some_thirty_characters")
    for key in keys:
        runs.run(key, scores={"nll": 24.0})
    found = made(runs, make_params(dict.fromkeys(keys, "LDEBM")))
    (panel,) = re.findall(r'viewBox="0 -14 (\d+) .*?</svg>', found.source, re.DOTALL)[:1]
    (place,) = set(
        re.findall(r'<text x="([\d.]+)" y="\d+" text-anchor="end">LDEBM \(', found.source)
    )
    longest = len("LDEBM (a_key_of_some_thirty_characters)")
    assert float(place) >= 6 * longest
    assert int(panel) > float(place) + 160


def test_the_most_informative_variables_are_shown(runs: Any, make_params: Any) -> None:
    """Of two sentences: variable 1 tells them apart for sure, 3 less so, 0 and 2 hardly."""
    sure = np.array([0.51, 1.0, 0.52, 0.9])
    probs = np.stack([np.stack([sure, 1 - sure], -1), np.stack([1 - sure, sure], -1)])
    arrays = {"modes": np.zeros((2, 3)), "codes": probs.argmax(2)}
    runs.run("gm", latents={**arrays, "probs": probs, "valid_probs": probs[:1]})
    found = read_results(make_params({"gm": "GM-VAE"}), runs.root)
    ((_, symbols),) = page._symbols(found)
    assert [one.variable for one in symbols] == [1, 1, 3, 3]


def test_what_is_not_made_yet_has_the_command_that_makes_it(runs: Any, make_params: Any) -> None:
    runs.run("vae")
    params = make_params({"vae": "VAE"}, seeds=[1])
    (result,) = read_results(params, runs.root).models
    verbs = ("train", "sample", "judge", "evaluate", "likelihood")
    commands = {(verb, "vae", 1): f"ldebm {verb} vae --seed 1" for verb in verbs}
    gaps = list(page.gaps(runs.root / "nothing", result, params.seeds, commands))
    assert [(one.step, one.command) for one in gaps] == [
        (verb, f"ldebm {verb} vae --seed 1") for verb in verbs
    ]


def test_the_training_of_all_seeds_is_counted(runs: Any, make_params: Any) -> None:
    for seed, seconds in ((1, 90.0), (2, 210.0)):
        runs.run("vae", seed, record={"seconds": seconds})
    params = make_params({"vae": "VAE"}, seeds=[1, 2])
    assert "5.0 min of training" in page._facts(params, read_results(params, runs.root))
