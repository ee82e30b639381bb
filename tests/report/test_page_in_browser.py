"""The page in a headless Chromium, as wide as a desktop and as a phone.

Needs Debian's chromium and chromium-driver; run by `pytest -m services`.
"""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from .test_page import ROWS, made, run_all

pytestmark = [
    pytest.mark.services,
    pytest.mark.skipif(not shutil.which("chromedriver"), reason="no chromedriver"),
]
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


class Browser:
    """A session of chromedriver, by the WebDriver protocol."""

    def __init__(self, address: str, width: int, profile: Path) -> None:
        metrics = {"width": width, "height": 900, "pixelRatio": 1, "mobile": width < 500}
        options = {
            "args": [*ARGUMENTS, f"--user-data-dir={profile}"],
            "mobileEmulation": {"deviceMetrics": metrics},
        }
        wanted = {"goog:loggingPrefs": {"browser": "ALL"}, "goog:chromeOptions": options}
        self.address = f"{address}/session"
        begun = self.ask("", {"capabilities": {"alwaysMatch": wanted}})
        self.address += f"/{begun['sessionId']}"

    def ask(self, path: str, values: dict[str, Any]) -> Any:
        """What a command of the protocol answers."""
        answer = requests.post(f"{self.address}{path}", json=values, timeout=120)
        answer.raise_for_status()
        return answer.json()["value"]

    def run(self, script: str) -> Any:
        """What a script returns."""
        return self.ask("/execute/sync", {"script": script, "args": []})


@pytest.fixture
def driver() -> Iterator[str]:
    """The address of a chromedriver."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    process = subprocess.Popen(["chromedriver", f"--port={port}"], stdout=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    while True:
        try:
            requests.get(f"{address}/status", timeout=10)
            break
        except requests.ConnectionError:
            assert process.poll() is None
            time.sleep(0.1)
    yield address
    process.terminate()
    process.wait()


@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_fits_and_says_no_error(
    runs: Any, make_params: Any, driver: str, width: int, tmp_path: Path
) -> None:
    run_all(runs, ROWS)
    made(runs, make_params(ROWS, corpus="ptb"))
    browser = Browser(driver, width, tmp_path / "profile")
    try:
        browser.ask("/url", {"url": (runs.root / "report.html").as_uri()})
        assert browser.run("return innerWidth") == width
        assert browser.run("return document.documentElement.scrollWidth") <= width
        first = "table.sortable tbody tr:nth-child(%d) th"
        read = f"return document.querySelector('{first}').textContent"
        assert browser.run(read % 2) == "RNN-LM"
        click = "document.querySelector('table.sortable thead button').click();"
        browser.run(click)  # rPPL upwards: the test set is 42, then in the order of the rows
        browser.run(click)  # and downwards
        assert browser.run(read % 1) == "LDEBM"
        assert browser.ask("/se/log", {"type": "browser"}) == []
    finally:
        requests.delete(browser.address, timeout=60)
