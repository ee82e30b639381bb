"""The command line: verbs, messages, exit statuses, and what it leaves unimported."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from shipped import write_shipped_parameters

from ldebm import ask, cli
from ldebm.pipeline import steps

HEAVY = {"torch", "mlflow", "snakemake", "pandas", "dvc", "sklearn", "matplotlib"}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with parameters and a text of its own."""
    write_shipped_parameters(tmp_path)
    for split in ("train", "valid", "test"):
        (tmp_path / f"{split}.txt").write_text("a cat sat\nthe cat ran\n")
    (tmp_path / "own.yaml").write_text(
        "data: {corpus: {train: train.txt, valid: valid.txt, test: test.txt}}\n"
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def imported_by(*arguments: str, folder: Path) -> set[str]:
    """Heavy packages that a command imports."""
    program = (
        "import sys; from ldebm.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "print('modules:', *sys.modules, file=sys.stderr)"
    )
    run = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    return HEAVY & set(run.stderr.rpartition("modules:")[2].split())


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["train", "no-such-model"]])
def test_nothing_heavy_is_imported_for_help_or_a_mistake(
    project: Path, arguments: list[str]
) -> None:
    assert imported_by(*arguments, folder=project) == set()


def test_a_step_with_nothing_to_do_imports_nothing_heavy(project: Path) -> None:
    commands = [
        ["data", "fetch", "--overlay", "own.yaml"],
        ["data", "tokenize", "--overlay", "own.yaml"],
    ]
    for command in commands:
        assert cli.main(command) == 0
    assert [imported_by(*command, folder=project) for command in commands] == [set(), set()]


def test_the_data_verbs_write_their_folders(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for verb in ("fetch", "tokenize"):
        assert cli.main(["data", verb, "--overlay", "own.yaml", "--root", "elsewhere"]) == 0
    assert (project / "elsewhere/data/tokens/vocabulary.txt").read_text().split() == [
        "<pad>",
        "<s>",
        "</s>",
        "cat",
        "a",
        "ran",
        "sat",
        "the",
    ]
    (project / "train.txt").write_text("a dog\n")
    capsys.readouterr()
    assert cli.main(["data", "fetch", "--overlay", "own.yaml", "--root", "elsewhere"]) == 0
    assert "raw: done" in capsys.readouterr().out


def test_a_text_too_small_for_the_judge_is_refused_before_training(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in (["data", "fetch"], ["data", "tokenize"]):
        assert cli.main([*command, "--overlay", "own.yaml"]) == 0
    assert cli.main(["train", "vae", "--overlay", "own.yaml"]) == 2
    said = "judge.valid_sentences: 3000, and the corpus has 4 sentences for a judge"
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train", "no-such-model"], "'no-such-model' is no model of the parameters; there are: "),
        (["train", "vae"], "data/tokens is not there yet; run `ldebm data tokenize` first"),
        (["sample", "vae", "--seed", "3"], "run `ldebm data tokenize` first"),
        (
            ["judge", "vae", "--overlay", "own.yaml", "--rows=vae"],
            "results/own/data/tokens is not there yet; "
            "run `ldebm data tokenize --overlay own.yaml --rows vae` first",
        ),
        (["score", "--samples", "s"], "run `ldebm data tokenize` first"),
        (["train", "ae", "--rows", "vae"], "'ae' is no model of the parameters; there are: vae"),
        (["table", "--params", "absent.yaml"], "absent.yaml: cannot be read"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(
    project: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert cli.main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("ldebm: error: ")
    assert error.count("\n") == 1
    assert said in error


def test_models_that_cannot_name_a_folder_are_refused(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (project / "params.yaml").read_text()
    (project / "params.yaml").write_text(text.replace("\n  vae:", "\n  real:"))
    assert cli.main(["data", "fetch"]) == 2
    assert "models.real" in capsys.readouterr().err


def test_without_a_seed_every_seed_is_run(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names: list[str] = []
    monkeypatch.setattr(steps, "run", lambda step, again: names.append(step.name) or "done")
    (project / "seeds.yaml").write_text("seeds: [3, 5]\n")
    cli.main(["train", "vae", "--overlay", "seeds.yaml"])
    cli.main(["judge", "vae", "--seed", "7"])
    cli.main(["judge", "vae", "--seed", "0"])
    cli.main(["judge", "real", "--overlay", "seeds.yaml"])
    assert names == [
        "train vae seed 3",
        "train vae seed 5",
        "judge vae seed 7",
        "judge vae seed 0",
        "judge real seed 1",
    ]


@pytest.mark.parametrize(
    ("number", "status", "word"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")],
)
def test_signals_end_the_work_with_a_word_on_what_is_kept(
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    number: int,
    status: int,
    word: str,
) -> None:
    monkeypatch.setattr(steps, "_run", lambda *_: os.kill(os.getpid(), number))
    assert cli.main(["train", "vae"]) == status
    assert capsys.readouterr().err == f"ldebm: {word}; {steps.RESUMES}\n"


def test_an_interrupt_where_nothing_is_kept_does_not_say_so(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ask, "_open", lambda options: os.kill(os.getpid(), signal.SIGINT))
    assert cli.main(["symbols", "vae"]) == 130
    assert capsys.readouterr().err == "ldebm: interrupted\n"


def test_any_seed_that_failed_is_told_by_the_status(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcomes = iter(["failed", "done", "done", "up to date"])
    monkeypatch.setattr(steps, "run", lambda step, again: next(outcomes))
    (project / "seeds.yaml").write_text("seeds: [3, 5]\n")
    command = ["train", "vae", "--overlay", "seeds.yaml"]
    assert [cli.main(command) for _ in range(2)] == [cli.MODEL_FAILED, 0]
