"""What a result was made with."""

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = (
    "ldebm",
    "torch",
    "numpy",
    "scikit-learn",
    "sacrebleu",
    "pandas",
    "pydantic",
    "safetensors",
    "snakemake",
    "dvc",
    "mlflow",
)


def package_versions() -> dict[str, str]:
    """Versions of Python and of the packages that matter; absent ones are left out."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def git_commit() -> str | None:
    """The commit of the source tree, with "-dirty" after it if there are uncommitted changes.

    None outside a repository.
    """
    here = Path(__file__).parent
    try:
        run = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40"],
            cwd=here,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return run.stdout.strip()


def provenance_tags() -> dict[str, str]:
    """Which code and which experiment a run belongs to."""
    tags = {"DVC_EXP_NAME": os.environ.get("DVC_EXP_NAME", "")}
    tags["mlflow.source.git.commit"] = git_commit() or ""
    return {name: value for name, value in tags.items() if value}
