"""When a step works, restores or rests, and that what it leaves is whole."""

import errno
import hashlib
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest

from ldebm.errors import ModelError, UserError
from ldebm.pipeline import manifest, plans, steps
from ldebm.pipeline.manifest import Hashes
from ldebm.pipeline.steps import Input, Step


def stale(step: Step) -> bool:
    return plans.is_stale(step, Hashes(step.home))


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
    assert stale(step())
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
    assert stale(step())
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


def test_only_the_named_files_of_an_input_count(step: Callable[..., Step]) -> None:
    """A producer's log may differ from run to run.

    And the input's hashes come from its manifest.
    """
    maker = step()
    steps.run(maker)
    whole, part = Input(maker.output, None, maker), Input(maker.output, ("a.txt",), maker)
    assert part.hashes() == {"a.txt": steps.file_hash(maker.output / "a.txt")}
    assert whole.hashes().keys() == {"a.txt", "sub/b.txt"}


def reader(step: Callable[..., Step], tmp_path: Path) -> Step:
    """A step that reads another's a.txt."""
    maker = replace(step(), key="vae", seed=1)
    inputs = {"toy": Input(maker.output, ("a.txt",), maker)}
    return replace(step(), verb="reader", inputs=inputs, output=tmp_path / "read")


def test_a_missing_input_names_the_command_that_makes_it(
    step: Callable[..., Step], tmp_path: Path
) -> None:
    with pytest.raises(
        UserError, match=r"out is not there yet; run `ldebm toy vae --seed 1` first"
    ):
        steps.run(reader(step, tmp_path))


def test_an_input_made_for_other_parameters_or_of_another_text_is_refused(
    step: Callable[..., Step], tmp_path: Path
) -> None:
    """Also that of an input's input; an engine would have brought it up to date."""
    reading = reader(step, tmp_path)
    maker = reading.inputs["toy"].maker
    assert maker is not None
    last = replace(
        step(),
        inputs={"read": Input(reading.output, None, replace(reading, key="vae", seed=1))},
        output=tmp_path / "last",
    )
    for one in (maker, reading, last):
        steps.run(one)
    other = replace(maker, parameters={"value": 7})
    asking = replace(reading, inputs={"toy": Input(maker.output, ("a.txt",), other)})
    says = rf"{maker.output}: value was 1, and is 7 here; run `ldebm toy vae --seed 1` first"
    with pytest.raises(UserError, match=says):
        steps.run(asking)
    less = replace(
        reading, inputs={"toy": Input(maker.output, None, replace(maker, parameters={}))}
    )
    with pytest.raises(UserError, match="value was 1, and is None here"):
        steps.run(less)
    with pytest.raises(UserError, match="value was 1, and is 7 here"):
        steps.run(replace(last, inputs={"read": Input(reading.output, None, asking)}))
    whole = (maker.output / "manifest.json").read_text()
    manifest = json.loads(whole)
    del manifest["parameters"]
    (maker.output / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match="parameters was None, and is "):
        steps.run(reading)
    (maker.output / "manifest.json").write_text(whole)
    (tmp_path / "text.txt").write_text("others")
    with pytest.raises(UserError, match=rf"{maker.output}: was made from another text; run"):
        steps.run(reading)
    (tmp_path / "text.txt").unlink()
    assert steps.run(reading) == "up to date"


def test_inputs_that_change_meanwhile_are_no_ones_results(
    step: Callable[..., Step], tmp_path: Path
) -> None:
    def work(checkpoints: Path, out: Path) -> None:
        (out / "a.txt").write_text((tmp_path / "text.txt").read_text())
        (tmp_path / "text.txt").write_text("others")

    with pytest.raises(UserError, match="toy: its inputs changed while it was at work; run it"):
        steps.run(replace(step(), work=work))
    assert not step().output.exists()
    assert steps.run(step()) == "done"


def test_a_damaged_input_is_named_and_put_back(
    step: Callable[..., Step], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reading = reader(step, tmp_path)
    maker = reading.inputs["toy"].maker
    assert maker is not None
    steps.run(maker)
    for damage in ("other", None):
        file = maker.output / "a.txt"
        file.unlink()
        if damage:
            file.write_text(damage)
        capsys.readouterr()
        assert steps.run(reading) in ("done", "up to date")
        assert file.read_text() == "1 words"
        said = capsys.readouterr().out.splitlines()[0]
        assert said.startswith(f"{file}: is damaged, not what `ldebm toy vae --seed 1` made; put")


def test_a_damaged_input_without_a_whole_copy_names_the_command(
    step: Callable[..., Step], tmp_path: Path
) -> None:
    reading = reader(step, tmp_path)
    maker = reading.inputs["toy"].maker
    assert maker is not None
    steps.run(maker)
    steps.run(reading)
    file = maker.output / "a.txt"
    times = file.stat()
    with file.open("r+") as text:  # in place, so in the kept copy too; of the same size and time
        text.write("2")
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    with pytest.raises(UserError, match=r"a\.txt: is damaged.*; run that again"):
        steps.run(reading)
    assert steps.run(maker) == "done"
    assert steps.run(reading) == "up to date"


@pytest.mark.parametrize(
    "outputs",
    [[], {"../../x": "0" * 64}, {"/etc/x": "0" * 64}, {"a/../../x": "0" * 64}, {"": "0" * 64},
     {"a\0b": "0" * 64}, {"a.txt": "../x"}, None, "a.txt"],
)  # fmt: skip
def test_a_manifest_of_another_shape_is_refused_and_never_followed(
    step: Callable[..., Step], tmp_path: Path, outputs: object
) -> None:
    (tmp_path / "x").write_text("mine")
    one = replace(step(), output=tmp_path / "a/b")
    one.output.mkdir(parents=True)
    manifest = {"fingerprint": "0" * 64, "outputs": outputs}
    (one.output / "manifest.json").write_text(json.dumps(manifest))
    assert stale(one)
    with pytest.raises(UserError, match=r"manifest\.json: .*delete"):
        steps.run(one)
    assert (tmp_path / "x").read_text() == "mine"


def test_a_manifest_whose_fingerprint_is_a_path_is_refused(step: Callable[..., Step]) -> None:
    steps.run(step())
    (step().output / "manifest.json").write_text('{"fingerprint": "../..", "outputs": {}}')
    with pytest.raises(UserError, match="is no manifest of a step; delete it"):
        steps.run(step())


def test_hashes_are_remembered_and_a_damaged_memory_is_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_text("a")
    monkeypatch.setattr(manifest, "RACE", -(10**18))
    counted: list[Path] = []
    hashed = manifest.file_hash
    monkeypatch.setattr(manifest, "file_hash", lambda path: (counted.append(path), hashed(path))[1])
    for text in (None, None, "[]", "{"):
        if text:
            (tmp_path / "hashes.json").write_text(text)
        hashes = Hashes(tmp_path)
        assert hashes.of(tmp_path / "a") == hashlib.sha256(b"a").hexdigest()
        hashes.save()
    assert len(counted) == 3


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
            manifest, "_link", lambda source, target: (_ for _ in ()).throw(KeyboardInterrupt)
        )
        with pytest.raises(KeyboardInterrupt):
            steps.run(step(2))
    assert stale(step(2))
    assert steps.run(step(2)) == "restored"
    assert (step().output / "a.txt").read_text() == "2 words"


def test_a_second_run_waits_for_the_first_and_says_for_whom(
    step: Callable[..., Step],
) -> None:
    """Not by `capsys`, which loses what is printed while another thread reads it."""
    folder = step().folder
    folder.mkdir(parents=True)
    hold = (
        "import sys, os, pathlib, filelock; folder = pathlib.Path(sys.argv[1]);"
        "lock = filelock.FileLock(folder / 'lock'); lock.acquire();"
        "(folder / 'holder').write_text(str(os.getpid())); print('held', flush=True); input()"
    )
    line, outcome = [sys.executable, "-c", hold, str(folder)], list[str]()
    with (
        subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other,
        redirect_stdout(StringIO()) as said,
    ):
        assert other.stdout is not None
        other.stdout.readline()
        second = threading.Thread(target=lambda: outcome.append(steps.run(step(), period=0.05)))
        second.start()
        while said.getvalue().count("waiting for process") < 3:
            time.sleep(0.01)
        assert not outcome
        other.kill()
        second.join()
    first, *later = [line for line in said.getvalue().splitlines() if "waiting" in line]
    assert first == f"toy: waiting for process {other.pid}, which is at work on it"
    assert all(line.startswith(f"{first} (") for line in later)
    assert outcome == ["done"]


def test_what_the_first_run_made_is_not_made_again(
    step: Callable[..., Step], calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock is had when the other has finished."""
    alone = steps._alone

    @contextmanager
    def late(one: Step, period: float) -> Iterator[None]:
        with monkeypatch.context() as patch:
            patch.setattr(steps, "_alone", alone)
            steps.run(one)
        with alone(one, period):
            yield

    monkeypatch.setattr(steps, "_alone", late)
    assert steps.run(step()) == "up to date"
    assert calls == ["work 1"]


def test_without_hard_links_files_are_copied(
    step: Callable[..., Step], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    assert steps.run(step()) == "done"
    assert (step().output / "a.txt").read_text() == "1 words"


def failing(error: Exception) -> Callable[[Path, Path], None]:
    """Work that leaves half a file, and fails."""

    def work(checkpoints: Path, out: Path) -> None:
        (checkpoints / "state").write_text("half")
        (out / "a.txt").write_text("half")
        raise error

    return work


def chain(step: Callable[..., Step], tmp_path: Path, error: Exception) -> tuple[Step, Step, Step]:
    """A step on a model that fails, one that reads what it makes, and a table of both."""
    maker = replace(step(), key="vae", seed=1, work=failing(error))
    inputs = {"toy": Input(maker.output, ("a.txt",), maker)}
    middle = replace(step(), verb="middle", key="vae", seed=1, inputs=inputs)
    middle = replace(middle, output=tmp_path / "middle")
    inputs = {one.name: Input(one.output, None, one) for one in (maker, middle)}
    return maker, middle, replace(step(), verb="table", inputs=inputs, output=tmp_path / "table")


def test_a_model_that_fails_says_so_in_its_outputs_and_what_follows_does_without(
    step: Callable[..., Step], tmp_path: Path, calls: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    maker, middle, table = chain(step, tmp_path, ModelError("it diverged"))
    steps.run(replace(maker, work=step().work, parameters={"value": 0}))  # that went well
    calls.clear()
    capsys.readouterr()
    assert [steps.run(one) for one in (maker, middle, table)] == ["failed", "failed", "done"]
    assert calls == ["work 1"]  # the table's
    assert capsys.readouterr().out.splitlines()[:3] == [
        "toy vae seed 1: started",
        "toy vae seed 1: failed: it diverged",
        "middle vae seed 1: failed: toy vae seed 1: it diverged",
    ]
    for one in (maker, middle):
        left = {path.name for path in one.output.rglob("*") if path.is_file()}
        assert left == {"failed.json", "manifest.json"}
        failure = json.loads((one.output / "failed.json").read_text())
        assert failure == {"step": "toy vae seed 1", "reason": "it diverged"}
        assert not stale(one)
    assert stale(table)  # so that whoever asks for it hears of the failure


def test_a_failure_is_tried_again_when_asked_for_or_when_something_changed(
    step: Callable[..., Step], tmp_path: Path, calls: list[str]
) -> None:
    maker, middle, table = chain(step, tmp_path, ModelError("it diverged"))
    for one in (maker, middle, table):
        steps.run(one)
    mended = replace(maker, work=step().work)
    assert steps.run(mended) == "failed"
    assert calls == ["work 1"]
    assert steps.run(mended, again=True) == "done"
    assert not (maker.output / "failed.json").exists()
    assert (maker.output / "a.txt").read_text() == "1 words"
    assert [steps.run(one) for one in (middle, table)] == ["done", "done"]
    assert not stale(table)
    assert steps.run(replace(maker, parameters={"value": 3})) == "failed"
    assert steps.run(mended) == "restored"


@pytest.mark.parametrize("error", [ModelError("it diverged"), MemoryError("no room")])
def test_a_failure_asked_for_again_leaves_what_was_finished(
    step: Callable[..., Step], tmp_path: Path, error: Exception
) -> None:
    maker, *_ = chain(step, tmp_path, error)
    steps.run(replace(maker, work=step().work))
    with pytest.raises(UserError, match=r"failed: .*(diverged|memory).*; what was finished stays"):
        steps.run(maker, again=True)
    assert (maker.output / "a.txt").read_text() == "1 words"
    assert steps.run(maker) == "up to date"


def test_the_outputs_of_another_step_are_not_replaced(step: Callable[..., Step]) -> None:
    steps.run(step())
    other = replace(step(2), verb="other")
    with pytest.raises(UserError, match=r"out: holds what `toy` made, and other would replace it"):
        steps.run(other)
    assert (step().output / "a.txt").read_text() == "1 words"


def test_code_that_changed_while_it_waited_is_not_run_for_the_old(
    step: Callable[..., Step], calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = steps._alone

    @contextmanager
    def edited(one: Step, period: float) -> Iterator[None]:
        with alone(one, period):
            monkeypatch.setattr(steps, "source_hash", lambda entries: "newer")
            yield

    monkeypatch.setattr(steps, "_alone", edited)
    with pytest.raises(UserError, match="its source changed while it waited; run it again"):
        steps.run(step())
    assert calls == []


def test_an_error_in_the_code_is_tried_again_from_its_checkpoint(
    step: Callable[..., Step], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    maker, middle, _ = chain(step, tmp_path, ZeroDivisionError("by\nzero"))
    assert [steps.run(one) for one in (maker, middle)] == ["failed", "failed"]
    said = capsys.readouterr()
    assert "ZeroDivisionError" in said.err  # where it was: for who mends it
    assert "toy vae seed 1: failed: ZeroDivisionError: by zero" in said.out
    assert stale(maker)
    assert steps.run(replace(maker, work=step().work)) == "done"
    assert "toy vae seed 1: going on" in capsys.readouterr().out
    assert stale(middle)


def test_want_of_memory_is_one_line(
    step: Callable[..., Step], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    error = RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried")
    maker, *_ = chain(step, tmp_path, error)
    assert steps.run(maker) == "failed"
    said = capsys.readouterr()
    assert said.err == ""
    assert f"failed: not enough memory ({error}); lower the batch" in said.out
    assert stale(maker)


def test_what_is_no_models_fault_stops(step: Callable[..., Step], tmp_path: Path) -> None:
    for error in (UserError("bad input"), FileNotFoundError("gone")):
        maker, *_ = chain(step, tmp_path, error)
        with pytest.raises(type(error)):
            steps.run(maker)
        assert not maker.output.exists()
    with pytest.raises(ModelError):  # a step that is of no model
        steps.run(replace(step(), work=failing(ModelError("it diverged"))))


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_disk_that_takes_no_more_is_one_line_and_leaves_the_checkpoint(
    step: Callable[..., Step], number: int
) -> None:
    broken = replace(step(), work=failing(OSError(number, os.strerror(number))))
    with pytest.raises(UserError) as caught:
        steps.run(broken)
    said = str(caught.value)
    assert said.startswith(f"{broken.folder}: ")
    assert said.endswith("and the same command goes on")
    full = r": the disk is full, more than [\d.]+ [kM]B needed, [\d.]+ [kM]B free; make room"
    assert re.search(full if number == errno.ENOSPC else ": cannot be written .*; make it", said)
    assert "\n" not in said
    assert {path.name for path in broken.folder.rglob("*") if path.is_file()} == {"state", "lock"}
    assert steps.run(replace(broken, work=step().work)) == "done"


def test_a_file_that_may_not_be_read_is_named(
    step: Callable[..., Step], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.R_OK)

    def work(checkpoints: Path, out: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(tmp_path / "text.txt"))

    says = "text.txt: cannot be read .Permission denied.; make it readable"
    with pytest.raises(UserError, match=says):
        steps.run(replace(step(), work=work))
