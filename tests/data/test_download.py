"""Downloads against a real HTTP server on this machine, local sources, and the user's own texts."""

import hashlib
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ldebm.data.download import Retries, TextCount, fetch_ptb, import_texts, local_source
from ldebm.errors import UserError

TEXTS = {
    f"ptb.{split}.txt": f"{split} words\n".encode() * 3000 for split in ("train", "valid", "test")
}
CHECKSUMS = {name: hashlib.sha256(text).hexdigest() for name, text in TEXTS.items()}
QUICK = Retries(rounds=2, pause=0.001, timeout=5)


class Server(ThreadingHTTPServer):
    """Serves TEXTS; the first `faults` requests for each file fail in the way named by the first
    part of the path.
    """

    def __init__(self, faults: int = 10**9) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.faults = faults
        self.requests: Counter[str] = Counter()
        self.hung = threading.Event()

    def mirror(self, behaviour: str) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/{behaviour}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        _, behaviour, name = self.path.split("/")
        self.server.requests[self.path] += 1
        body = TEXTS[name]
        fault = behaviour if self.server.requests[self.path] <= self.server.faults else "good"
        if fault == "missing":
            self.send_error(404)
            return
        if fault == "silent":
            self.server.hung.wait(10)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        sent = {"truncated": body[: len(body) // 2], "wrong": body[::-1]}.get(fault, body)
        self.wfile.write(sent)

    def log_message(self, *arguments: object) -> None:
        """Keep the test output clean."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.hung.set()
        running.shutdown()
        thread.join()


@pytest.fixture
def closed_port() -> str:
    """A mirror where nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


EXPECTED = {name.removeprefix("ptb."): text for name, text in TEXTS.items()}


def test_good_files_arrive_whole_and_alone(server: Server, tmp_path: Path) -> None:
    fetch_ptb(tmp_path / "raw", None, [server.mirror("good")], CHECKSUMS, retries=QUICK)
    assert contents(tmp_path / "raw") == EXPECTED
    assert set(server.requests.values()) == {1}


def test_downloaded_files_get_the_usual_permissions(server: Server, tmp_path: Path) -> None:
    fetch_ptb(tmp_path / "raw", None, [server.mirror("good")], CHECKSUMS, retries=QUICK)
    (tmp_path / "usual").touch()
    assert (tmp_path / "raw" / "train.txt").stat().st_mode == (tmp_path / "usual").stat().st_mode


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ("missing", "HTTP 404 Not Found"),
        ("truncated", "the connection broke off before the end of the file"),
        ("wrong", "wrong SHA-256"),
    ],
)
def test_a_bad_mirror_never_becomes_an_output(
    server: Server, tmp_path: Path, behaviour: str, reason: str
) -> None:
    (tmp_path / "train.txt").write_text("from an earlier run\n")
    with pytest.raises(UserError, match=reason) as error:
        fetch_ptb(tmp_path, None, [server.mirror(behaviour)], CHECKSUMS, retries=QUICK)
    assert contents(tmp_path) == {"train.txt": b"from an earlier run\n"}
    assert f"{server.mirror(behaviour)}/ptb.train.txt" in str(error.value)
    assert server.requests[f"/{behaviour}/ptb.train.txt"] == QUICK.rounds


def test_a_silent_server_is_given_up(server: Server, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no answer within 0\.2 s"):
        fetch_ptb(tmp_path, None, [server.mirror("silent")], CHECKSUMS, retries=Retries(1, 0, 0.2))


def test_the_error_names_every_mirror_and_the_way_out(
    server: Server, closed_port: str, tmp_path: Path
) -> None:
    mirrors = [closed_port, server.mirror("missing")]
    with pytest.raises(UserError) as error:
        fetch_ptb(tmp_path, None, mirrors, CHECKSUMS, retries=QUICK)
    message = str(error.value)
    assert f"{closed_port}/ptb.train.txt (no connection)" in message
    assert f"{server.mirror('missing')}/ptb.train.txt (HTTP 404 Not Found)" in message
    assert "data.source" in message
    assert "LDEBM_DATA_SOURCE" in message
    assert "\n" not in message


@pytest.mark.parametrize("behaviour", ["missing", "truncated", "wrong"])
def test_the_second_mirror_stands_in(server: Server, tmp_path: Path, behaviour: str) -> None:
    fetch_ptb(
        tmp_path, None, [server.mirror(behaviour), server.mirror("good")], CHECKSUMS, retries=QUICK
    )
    assert contents(tmp_path) == EXPECTED


def test_first_mirror_down(server: Server, closed_port: str, tmp_path: Path) -> None:
    fetch_ptb(tmp_path, None, [closed_port, server.mirror("good")], CHECKSUMS, retries=QUICK)
    assert contents(tmp_path) == EXPECTED


@pytest.mark.parametrize("behaviour", ["missing", "truncated", "wrong"])
def test_a_passing_fault_is_retried(server: Server, tmp_path: Path, behaviour: str) -> None:
    server.faults = 1
    fetch_ptb(tmp_path, None, [server.mirror(behaviour)], CHECKSUMS, retries=QUICK)
    assert contents(tmp_path) == EXPECTED
    assert set(server.requests.values()) == {2}


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_bar_on_a_terminal_only(
    server: Server,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    terminal: bool,
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    fetch_ptb(tmp_path, None, [server.mirror("good")], CHECKSUMS, retries=QUICK)
    assert ("100%" in capsys.readouterr().err) == terminal


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    for name, text in TEXTS.items():
        (folder / name).write_bytes(text)
    return folder


def test_a_local_source_is_used_instead_of_the_network(source: Path, tmp_path: Path) -> None:
    fetch_ptb(tmp_path / "raw", source, mirrors=[], checksums=CHECKSUMS)
    assert contents(tmp_path / "raw") == EXPECTED


def test_a_local_source_must_be_complete(source: Path, tmp_path: Path) -> None:
    (source / "ptb.valid.txt").unlink()
    with pytest.raises(UserError, match=r"ptb\.valid\.txt: No such file"):
        fetch_ptb(tmp_path / "raw", source, checksums=CHECKSUMS)
    assert contents(tmp_path / "raw") == {}


def test_a_local_source_is_checked(source: Path, tmp_path: Path) -> None:
    (source / "ptb.test.txt").write_bytes(b"other words\n")
    with pytest.raises(UserError, match=r"ptb\.test\.txt is not the expected file"):
        fetch_ptb(tmp_path / "raw", source, checksums=CHECKSUMS)
    assert contents(tmp_path / "raw") == {}


def test_the_environment_variable_comes_before_the_parameter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("LDEBM_DATA_SOURCE", raising=False)
    assert local_source(None) is None
    assert local_source(Path("here")) == Path("here")
    monkeypatch.setenv("LDEBM_DATA_SOURCE", "there")
    assert local_source(Path("here")) == Path("there")
    monkeypatch.setenv("LDEBM_DATA_SOURCE", "")
    assert local_source(None) is None


@pytest.fixture
def texts(tmp_path: Path) -> dict[str, Path]:
    """A user's three files."""
    paths = {split: tmp_path / f"my {split}" for split in ("train", "valid", "test")}
    for split, path in paths.items():
        path.write_bytes(f"a {split} sentence\n".encode())
    return paths


def test_own_texts_are_normalised_and_counted(texts: dict[str, Path], tmp_path: Path) -> None:
    texts["train"].write_bytes("\ufeffun  café\r\n\n \t\n  deux\tcafés \nfin".encode())
    counts = import_texts(tmp_path / "raw", **texts)
    assert counts == {"train": TextCount(3, 2), "valid": TextCount(1, 0), "test": TextCount(1, 0)}
    assert contents(tmp_path / "raw") == {
        "train.txt": "un café\ndeux cafés\nfin\n".encode(),
        "valid.txt": b"a valid sentence\n",
        "test.txt": b"a test sentence\n",
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot read .*my valid: No such file"),
        (b"", "my valid holds no sentence"),
        (b"\n \n", "my valid holds no sentence"),
        (b"good\nbad \xff byte\n", "my valid, line 2: not UTF-8"),
        (b"good\n\nhe said </s> again\n", "my valid, line 3: </s> is reserved"),
        (b"<s> begins\n", "my valid, line 1: <s> is reserved"),
        (b"good\nfilled up <pad>\n", "my valid, line 2: <pad> is reserved"),
        (b"good\nno\0t\n", r"my valid, line 2: holds the character '\\x00'"),
        (b"one\rtwo\r", r"my valid, line 1: holds the character '\\r'"),
        (b"good\n\xef\xbb\xbfbad\n", r"my valid, line 2: holds the character '\\ufeff'"),
        (b"good\n" + b"word " * 10_001, "my valid, line 2: has 10,001 words, more than 10,000"),
    ],
)
def test_unfit_texts_are_refused(
    texts: dict[str, Path], tmp_path: Path, text: bytes | None, message: str
) -> None:
    texts["valid"].unlink()
    if text is not None:
        texts["valid"].write_bytes(text)
    with pytest.raises(UserError, match=message):
        import_texts(tmp_path / "raw", **texts)
    assert contents(tmp_path / "raw") == {}


def test_import_is_cheap() -> None:
    slow = "{'numpy', 'pooch', 'requests', 'tqdm'}"
    code = f"import sys, ldebm.data.download; print({slow} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
