"""The parameters as they are shipped, whatever a user has added to params.yaml since."""

from pathlib import Path
from typing import Any

import yaml

from ldebm.outside import is_outside

ROOT = Path(__file__).parents[1]


def shipped_parameters() -> dict[str, Any]:
    """params.yaml without rows, metrics and a text of a user's own."""
    raw = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    models = {key: one for key, one in raw["models"].items() if not is_outside(one["row"])}
    data = raw["data"] | {"corpus": "ptb", "vocabulary_limit": None}
    return {**raw, "models": models, "data": data, "metrics": []}


def write_shipped_parameters(folder: Path) -> Path:
    """The same as a file."""
    path = folder / "params.yaml"
    path.write_text(yaml.safe_dump(shipped_parameters(), sort_keys=False), encoding="utf-8")
    return path
