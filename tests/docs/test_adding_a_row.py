"""The page is the input: its code is written to a file and its block into the parameters."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from shipped import shipped_parameters

from ldebm import params
from ldebm.build import build_model
from ldebm.data.batches import Batch
from ldebm.errors import UserError
from ldebm.evaluation.likelihood import importance_sampled
from ldebm.report.models import models_table

ROOT = Path(__file__).parents[2]


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The page's parameters laid over the shipped ones, in a folder that holds its file."""
    text = (ROOT / "docs/adding-a-row.md").read_text(encoding="utf-8")
    code, block = (
        re.search(rf"```{kind}\n(.*?)```", text, re.DOTALL)[1] for kind in ("python", "yaml")
    )
    (tmp_path / "my_rows.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    shipped = shipped_parameters()
    return params.merge(shipped, yaml.safe_load(block))


def test_the_row_trains_samples_and_has_a_likelihood(page: dict[str, Any]) -> None:
    page["sentence_model"] |= {"embedding": 8, "hidden": 8}
    settings = params.validate(page, "params.yaml")
    torch.manual_seed(1)
    model = build_model(settings, "laplace_vae", 20)
    batch = Batch(torch.tensor([[1, 5, 6, 2]]), torch.tensor([3]), np.array([0]))
    loss = model.loss(batch, 2500, 10_000, torch.Generator().manual_seed(1))
    by_hand = loss.terms["reconstruction"] + 0.5 * loss.terms["kl"]
    torch.testing.assert_close(loss.total.detach(), by_hand)
    model.eval()
    z = model.prior.sample(50_000, torch.Generator().manual_seed(1))
    assert z.abs().mean().item() == pytest.approx(0.7, rel=0.02)  # E|z| = b
    assert model.sample(3, 8, torch.Generator().manual_seed(1)).shape == (3, 8)
    assert importance_sampled(model, batch, 8, 8, torch.Generator().manual_seed(1)) < 0
    assert "| Laplace-VAE " in models_table(settings)


def test_a_mistake_is_the_line_that_the_page_shows(page: dict[str, Any]) -> None:
    page["models"]["laplace_vae"]["scale"] = -1
    with pytest.raises(UserError) as caught:
        params.validate(page, "params.yaml")
    assert str(caught.value) in (ROOT / "docs/adding-a-row.md").read_text(encoding="utf-8")
