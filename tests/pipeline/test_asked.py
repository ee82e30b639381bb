"""What Snakemake's command line may ask for, and what is refused in one line."""

import re
from pathlib import Path
from typing import Any

import pytest
from shipped import shipped_parameters, write_shipped_parameters

from ldebm import params
from ldebm.errors import UserError
from ldebm.pipeline import asked
from ldebm.pipeline.project import Project


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.chdir(tmp_path)
    return Project.load(params=str(write_shipped_parameters(tmp_path)))


def test_options_are_those_of_the_verbs() -> None:
    given = {"params": "p.yaml", "rows": ["vae", "ldebm"], "root": "./2024", "overlay": None}
    wanted = {"params": "p.yaml", "rows": "vae,ldebm", "root": "./2024"}
    assert asked.options({**given, "results": "", "threads": 3}) == wanted
    assert asked.options({"rows": "vae"}) == {"rows": "vae"}
    assert asked.options({"rows": 7}) == {"rows": "7"}


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"rooot": "x"}, "--config rooot: unknown key; did you mean root?"),
        ({"xyz": 1}, "--config xyz: unknown key; there are params, overlay, rows, root, results, "),
        ({"root": 20240105}, "--config root: 20240105 is not read as a name; write it as ./NAME"),
        ({"params": ["a", "b"]}, "--config params: ['a', 'b'] is not read as a name"),
        ({"results": 0}, "--config results: 0 is not read as a name"),
    ],
)
def test_other_options_are_refused(config: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=re.escape(said)):
        asked.options(config)


def test_threads_of_a_job() -> None:
    assert asked.threads({}) == 2
    assert asked.threads({"threads": 3}) == asked.threads({"threads": "3"}) == 3
    for wrong in (0, -1, "two", None, 1.5):
        with pytest.raises(UserError, match=f"threads: '{wrong}' is no number"):
            asked.threads({"threads": wrong})


@pytest.mark.parametrize("place", ["root", "results"])
def test_places_that_cannot_be_used(place: str, tmp_path: Path) -> None:
    shipped = params.load(write_shipped_parameters(tmp_path))
    file = tmp_path / "file"
    file.touch()
    for path, said in (("a{b}", "braces"), ("a\tb", "braces and control"), (file, "is no folder")):
        with pytest.raises(UserError, match=f"--config {place}: .*{said}"):
            asked.check_places(Project(shipped, **{place: Path(path)}), [])
    asked.check_places(Project(shipped, **{place: tmp_path / "new"}), [])


def test_a_text_in_a_place_that_cannot_be_used() -> None:
    raw = shipped_parameters()
    raw["data"]["corpus"] = {"train": "a.txt", "valid": "{v}.txt", "test": "c.txt"}
    with pytest.raises(UserError, match=r"data\.corpus\.valid: '{v}\.txt': braces"):
        asked.check_places(Project(params.validate(raw, "test")), [])


def test_the_table_of_other_options_is_not_taken_for_this_one(project: Project) -> None:
    trial = Project(project.params, Path("results/a"), Path("results/a"))
    with pytest.raises(UserError, match="leave the target out, or name results/a/table"):
        asked.check_places(trial, ["--cores", "results/table.csv"])
    asked.check_places(trial, ["results/a/table.csv"])
    asked.check_places(project, ["results/table.csv"])


def test_targets_that_nothing_makes(project: Project) -> None:
    words = ["--cores", "4", "results/none.csv", "models/vae/seed1/manifest.json"]
    asked.check_targets(project, words, lambda word: word.startswith("models/vae/"))
    with pytest.raises(UserError, match="nothing makes it; did you mean models/vae/seed1/"):
        asked.check_targets(project, ["models/vea/seed1/manifest.json"], lambda word: False)
    with pytest.raises(UserError, match=r"work/models/xyz: nothing makes it$"):
        asked.check_targets(project, ["work/models/xyz"], lambda word: False)
    Path("work/models").mkdir(parents=True)
    Path("work/models/xyz").touch()
    asked.check_targets(project, ["work/models/xyz"], lambda word: False)
    elsewhere = Project(project.params, Path("a"))
    asked.check_targets(elsewhere, ["models/vea"], lambda word: False)
    with pytest.raises(UserError, match="a/models/vea: nothing makes it"):
        asked.check_targets(elsewhere, ["a/models/vea"], lambda word: False)


def test_what_rules_read(project: Project) -> None:
    step = project.step("judge", "vae", 1)
    plan, *reads = asked.inputs_of(step)
    assert plan == "work/plan/models/vae/seed1/judge"
    assert reads == ["data/tokens/manifest.json", "samples/vae/seed1/manifest.json"]
    raw = shipped_parameters()
    raw["data"]["corpus"] = {name: f"{name}.txt" for name in ("train", "valid", "test")}
    texts = asked.inputs_of(Project(params.validate(raw, "test")).raw())
    assert texts == ["work/plan/raw", "train.txt", "valid.txt", "test.txt"]


def test_the_real_text_is_sampled_and_judged_alone(project: Project) -> None:
    for verb, real in (("train", False), ("sample", True), ("judge", True), ("evaluate", False)):
        pattern = re.compile(asked.models_of(project, verb))
        assert bool(pattern.fullmatch("real")) is real
        assert pattern.fullmatch("vae")
        assert not pattern.fullmatch("vea")


def test_a_folder_as_rules_write_it() -> None:
    assert [asked.folder(Path(one), "data") for one in (".", "a/b")] == ["data/", "a/b/data/"]
    assert [asked.folder(Path(one)) for one in (".", "a", "/")] == ["", "a/", "//"]
