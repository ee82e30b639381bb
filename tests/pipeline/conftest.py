"""A step that is quick."""

from collections.abc import Callable
from pathlib import Path

import pytest

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
