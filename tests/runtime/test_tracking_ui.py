"""What a person sees of the runs in a browser: `mlflow ui` in headless Chromium.

Needs Debian's `chromium` and `chromium-driver` and the Python package selenium; run by
`pytest -m services`.
"""

import os
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ldebm.runtime.tracking import open_tracker

from .test_tracking import kill, runs, serve

pytestmark = pytest.mark.services
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--window-size=1500,1100")
TRAINING = "workflowType=machine_learning"  # else the pages of chat programs are shown
PATIENCE = 120.0  # seconds for a page


@pytest.fixture
def address(store: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The UI on two trainings and a table."""
    (store / "samples.txt").write_text("a cat sat\n")
    for row in ("VAE", "LDEBM"):
        with open_tracker("trial", f"grammar {row} seed 1", row, {"row": row}, verb="train") as one:
            for step in range(3):
                one.log_metrics({"loss": 3.0 - step, "valid_loss": 4.0 - step}, step)
            one.log_artifact(store / "samples.txt", "sample")
    with open_tracker("trial", "grammar table", "table", {}) as table:
        table.add_members(["VAE", "LDEBM"])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = serve(store, port)
    yield f"http://127.0.0.1:{port}/#"
    kill(server)


@pytest.fixture
def browser() -> Iterator[Any]:
    webdriver = pytest.importorskip("selenium.webdriver")
    driver = shutil.which("chromedriver")
    if driver is None:
        pytest.skip("Chromium is not installed")
    options = webdriver.ChromeOptions()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        for flag in (*FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        one = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
        yield one
        one.quit()


def shows(browser: Any, page: str, *texts: str) -> None:
    """Open a page, and wait until it has all texts."""
    browser.get(page)
    last = time.monotonic() + PATIENCE
    while missing := [text for text in texts if text not in body(browser)]:
        assert time.monotonic() < last, f"{page} lacks {missing}: {body(browser)[:2000]}"
        time.sleep(0.2)


def body(browser: Any) -> str:
    return str(browser.execute_script("return document.body.innerText"))


def test_runs_a_comparison_and_one_runs_curves_and_artifacts_are_seen(
    address: str, browser: Any, store: Path
) -> None:
    os.environ.setdefault("SE_AVOID_STATS", "true")
    found = {run.info.run_name: run.info for run in runs(store)}
    vae, other = found["grammar VAE seed 1"], found["grammar LDEBM seed 1"]
    home = f"{address}/experiments/{vae.experiment_id}"
    shows(browser, f"{home}/runs?{TRAINING}", *found)
    both = f'runs=["{vae.run_id}","{other.run_id}"]&experiments=["{vae.experiment_id}"]'
    shows(
        browser, f"{address}/compare-runs?{both}&{TRAINING}", *sorted({*found} - {"grammar table"})
    )
    shows(browser, f"{home}/runs/{vae.run_id}/model-metrics?{TRAINING}", "train", "valid", "loss")
    shows(browser, f"{home}/runs/{vae.run_id}/artifacts?{TRAINING}", "sample")
