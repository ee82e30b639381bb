"""Bad inputs end in one line with nothing lost; some of them here, all with `-m faults`."""

from pathlib import Path

import pytest

from reliability.bad_case import BadInput, file, missing, nothing
from reliability.bad_inputs import CASES, check, run, tiny_project

SOME = 4  # every so manieth case, of those that need no process of their own
QUICK = [case for case in CASES if not case.separate][::SOME]


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with two trained models, which nobody changes."""
    folder = tmp_path_factory.mktemp("tiny") / "project"
    tiny_project(folder)
    return folder


def test_there_are_many_and_none_twice() -> None:
    assert len(CASES) >= 150
    assert len({(case.name, case.command) for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", QUICK, ids=lambda case: case.name)
def test_a_bad_input_is_one_line(case: BadInput, tiny: Path) -> None:
    assert check(case, tiny) is None


@pytest.mark.faults
@pytest.mark.parametrize(
    "case", [case for case in CASES if case not in QUICK], ids=lambda case: case.name
)
def test_every_other_bad_input_is_one_line(case: BadInput, tiny: Path) -> None:
    assert check(case, tiny) is None


@pytest.mark.parametrize(
    ("case", "said"),
    [
        (BadInput("good", nothing, "ldebm data fetch", ""), "status 0: "),
        (BadInput("bad", missing("params.yaml"), "ldebm plan", "another"), "says: ldebm: error: "),
        (BadInput("bad", missing("params.yaml"), "ldebm plan", "", used=True), "status 2: "),
        (BadInput("two", nothing, "python -c 'print(1); print(2)'", "", used=True), "2 lines: "),
        (BadInput("quiet", nothing, "python -c 'exit(1)'", ""), "0 lines: "),
        (BadInput("raises", nothing, "python -c 1/0", ""), "a traceback: ZeroDivisionError"),
        (
            BadInput("loses", nothing, "python -c \"__import__('os').remove('text/test.txt'); "
                     "exit('a line')\"", ""), "text/test.txt is not what it was",
        ),
        (
            BadInput("changes", file("a", "x"), "python -c \"open('a', 'w'); exit('a line')\"", ""),
            "a is not what it was",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_noticed(case: BadInput, said: str, tiny: Path) -> None:
    wrong = check(case, tiny)
    assert wrong is not None
    assert wrong.startswith(said)


def test_a_password_of_the_store_is_nowhere(tiny: Path, tmp_path: Path) -> None:
    """Neither in what is printed nor in any file, when the store does not answer."""
    store = "MLFLOW_TRACKING_URI=http://me:s3cret@127.0.0.1:1"
    overlay = "models: {vae: {kl_slope: 0.5}}"
    file("project/overlay.yaml", overlay)(tmp_path)
    for path in tiny.rglob("*"):
        if path.is_file():
            file(f"project/{path.relative_to(tiny)}", path.read_bytes())(tmp_path)
    folder = tmp_path / "project"
    trained = run(f"{store} python -m ldebm train vae --overlay overlay.yaml --root .", folder)
    assert trained.status == 0, trained
    assert "fails" in trained.err
    sent = run(f"{store} python -m ldebm sync", folder)
    assert sent.status == 2, sent
    for done in (trained, sent):
        assert "s3cret" not in done.out + done.err
        assert "127.0.0.1" in done.err
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert [path for path in files if b"s3cret" in path.read_bytes()] == []
