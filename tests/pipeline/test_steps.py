"""When a step works, restores or rests, and that what it leaves is whole."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ldebm.errors import UserError
from ldebm.pipeline import steps
from ldebm.pipeline.steps import Input, Step


@pytest.fixture
def calls() -> list[str]:
    return []


@pytest.fixture
def step(tmp_path: Path, calls: list[str]) -> Callable[..., Step]:
    """A step that writes its parameter and its input's text, and remembers that it worked."""
    (tmp_path / "text.txt").write_text("words")

    def make(value: int = 1, names: tuple[str, ...] = ("a.txt", "sub/b.txt")) -> Step:
        def work(checkpoints: Path, out: Path) -> None:
            calls.append(f"work {value}")
            for name in names:
                (out / name).parent.mkdir(parents=True, exist_ok=True)
                (out / name).write_text(f"{value} {(tmp_path / 'text.txt').read_text()}")

        inputs = {"text": Input(tmp_path / "text.txt")}
        return Step("toy", {"value": value}, inputs, tmp_path / "out", (), tmp_path / "work", work)

    return make


def test_twice_works_once(
    step: Callable[..., Step], calls: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert [steps.run(step()), steps.run(step())] == ["done", "up to date"]
    assert calls == ["work 1"]
    assert capsys.readouterr().out.splitlines()[-1] == "toy: up to date"


def test_a_changed_parameter_works_and_its_revert_restores(
    step: Callable[..., Step], calls: list[str]
) -> None:
    outcomes = [steps.run(step(value)) for value in (1, 2, 1, 2)]
    assert outcomes == ["done", "done", "restored", "restored"]
    assert calls == ["work 1", "work 2"]
    assert (step().output / "sub/b.txt").read_text() == "2 words"
    assert [path.name for path in step().output.rglob(".*")] == []


def test_a_changed_input_works(step: Callable[..., Step], tmp_path: Path) -> None:
    steps.run(step())
    (tmp_path / "text.txt").write_text("others")
    assert steps.is_stale(step())
    assert steps.run(step()) == "done"
    assert (tmp_path / "out/a.txt").read_text() == "1 others"


def test_a_changed_source_works(step: Callable[..., Step], monkeypatch: pytest.MonkeyPatch) -> None:
    steps.run(step())
    monkeypatch.setattr(steps, "source_hash", lambda entries: "another")
    assert steps.run(step()) == "done"


def test_damaged_and_missing_outputs_come_back(step: Callable[..., Step], calls: list[str]) -> None:
    steps.run(step())
    output = step().output / "a.txt"
    output.unlink()
    assert steps.is_stale(step())
    assert steps.run(step()) == "restored"
    output.unlink()
    output.write_text("not what was made")
    assert steps.run(step()) == "restored"
    with output.open(
        "a"
    ) as file:  # in place, and so in the kept copy too where that is a hard link
        file.write("spoiled")
    steps.run(step())
    assert output.read_text() == "1 words"


def test_files_that_are_made_no_more_go(step: Callable[..., Step]) -> None:
    steps.run(step(1))
    (step().output / "users-own.txt").write_text("stays")
    steps.run(step(2, names=("a.txt",)))
    assert sorted(path.name for path in step().output.rglob("*") if path.is_file()) == [
        "a.txt",
        "manifest.json",
        "users-own.txt",
    ]


def test_only_the_named_files_of_an_input_count(tmp_path: Path, step: Callable[..., Step]) -> None:
    """A producer's log may differ from run to run; and the input's hashes come from its manifest."""
    steps.run(step())
    whole, part = Input(tmp_path / "out"), Input(tmp_path / "out", ("a.txt",))
    assert part.hashes() == {"a.txt": steps.file_hash(tmp_path / "out/a.txt")}
    assert whole.hashes().keys() == {"a.txt", "sub/b.txt"}


def test_a_missing_input_names_the_command_that_makes_it(
    step: Callable[..., Step], tmp_path: Path
) -> None:
    lacking = replace(step(), inputs={"model": Input(tmp_path / "models/vae", made_by="train vae")})
    with pytest.raises(
        UserError, match=r"models/vae is not there yet; run `ldebm train vae` first"
    ):
        steps.run(lacking)


def test_a_failure_leaves_the_old_outputs_and_the_checkpoints(
    step: Callable[..., Step], capsys: pytest.CaptureFixture[str]
) -> None:
    steps.run(step(1))
    found: list[bool] = []

    def work(checkpoints: Path, out: Path) -> None:
        found.append((checkpoints / "state").exists())
        (checkpoints / "state").write_text("half")
        (out / "a.txt").write_text("half")
        if len(found) == 1:
            raise RuntimeError("power cut")

    failing = replace(step(2), work=work)
    with pytest.raises(RuntimeError, match="power cut"):
        steps.run(failing)
    assert (failing.output / "a.txt").read_text() == "1 words"
    assert steps.run(failing) == "done"
    assert found == [False, True]
    assert "toy: going on" in capsys.readouterr().out
    assert not list(failing.folder.rglob("state"))


def test_an_interrupted_publication_is_completed(
    step: Callable[..., Step], monkeypatch: pytest.MonkeyPatch
) -> None:
    steps.run(step(1))
    with monkeypatch.context() as patch:
        patch.setattr(
            steps, "_link", lambda source, target: (_ for _ in ()).throw(KeyboardInterrupt)
        )
        with pytest.raises(KeyboardInterrupt):
            steps.run(step(2))
    assert steps.is_stale(step(2))
    assert steps.run(step(2)) == "restored"
    assert (step().output / "a.txt").read_text() == "2 words"


def test_another_process_at_work_is_named(step: Callable[..., Step], tmp_path: Path) -> None:
    folder = step().folder
    folder.mkdir(parents=True)
    hold = (
        "import sys, time, os, pathlib, filelock; folder = pathlib.Path(sys.argv[1]);"
        "lock = filelock.FileLock(folder / 'lock'); lock.acquire(); (folder / 'holder').write_text(str(os.getpid()));"
        "print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(folder)], stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(UserError, match=f"process {other.pid} is at work on it"):
            steps.run(step(), patience=0.1)
        other.kill()
        other.wait()
    assert steps.run(step()) == "done"  # the lock went with its holder


def test_a_stamp_moves_only_while_the_step_is_stale(step: Callable[..., Step]) -> None:
    """Snakemake compares times, then contents: the stamp of a stale step must differ in both, that of a current one in neither."""
    steps.run(step(1))
    made = (step().output / "manifest.json").stat().st_mtime_ns
    stamp = steps.stamp(step(1), stale=False)
    assert stamp.stat().st_mtime_ns < made
    assert stamp.read_text() == ""
    steps.stamp(step(2), stale=True)
    moved = stamp.read_text()
    assert stamp.stat().st_mtime_ns > made
    assert moved
    steps.stamp(step(2), stale=True)  # a second look, as in every job of a run
    assert stamp.read_text() == moved
    steps.run(step(2))
    assert (step().output / "manifest.json").stat().st_mtime_ns > stamp.stat().st_mtime_ns


def test_without_hard_links_files_are_copied(
    step: Callable[..., Step], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    assert steps.run(step()) == "done"
    assert (step().output / "a.txt").read_text() == "1 words"
