"""Nothing that a user gives is interpreted by a shell, and what cannot be used is one line."""

import re
import subprocess
from pathlib import Path

import pytest

from .conftest import ROOT, environment

OWN = "data: {corpus: {train: own.txt, valid: own.txt, test: own.txt}}\n"


def snakemake(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Words are passed as they are, past any shell."""
    return subprocess.run(
        ["snakemake", "--cores", "1", *words],
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def test_a_root_of_any_characters_is_a_folder_and_nothing_else(project: Path) -> None:
    root = "a b'c\"$(touch pwned);`touch pwned`&é"
    (project / "own.txt").write_text("a cat sat\n")
    (project / "own overlay.yaml").write_text(OWN)
    given = (f"root={root}", "overlay=own overlay.yaml", "threads=1")
    done = snakemake(project, "--config", *given, "--", f"{root}/data/raw/manifest.json")
    assert done.returncode == 0, done.stdout
    assert (project / root / "data/raw/train.txt").read_text() == "a cat sat\n"
    assert (project / root / "work/logs/raw.log").exists()
    assert not list(project.rglob("pwned"))


def test_no_shell_sees_a_path_unquoted() -> None:
    rules = (ROOT / "workflow/rules/steps.smk").read_text(encoding="utf-8")
    commands = re.findall(r"shell:\s*(\".*\")", rules)
    places = [place for command in commands for place in re.findall(r"\{(.*?)\}", command)]
    assert len(commands) == rules.count("shell:")
    # ours: a verb
    assert {one for one in places if not one.endswith(":q")} == {"params.command"}


def test_an_unknown_target_is_one_line(project: Path) -> None:
    done = snakemake(project, "--dry-run", "--", "models/vea/seed1/manifest.json")
    own = [line for line in done.stdout.splitlines() if not line.startswith("Using workflow")]
    assert own == [
        "ldebm: error: models/vea/seed1/manifest.json: nothing makes it; "
        "did you mean models/vae/seed1/manifest.json?"
    ]
    assert done.returncode != 0


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("rooot=3", "--config rooot: unknown key; did you mean root?"),
        ("threads=-3", "--config threads: '-3' is no number of threads; give 1 or more"),
        ("root=a{b}", "--config root: 'a{b}': braces and control characters cannot be used"),
    ],
)
def test_what_cannot_be_used_is_one_line(project: Path, given: str, said: str) -> None:
    done = snakemake(project, "--config", given, "--dry-run")
    own = [line for line in done.stdout.splitlines() if not line.startswith("Using workflow")]
    assert done.returncode != 0
    assert len(own) == 1
    assert own[0].startswith(f"ldebm: error: {said}")
