"""A trained model's folder out of MLflow, where its training has logged it."""

import importlib.util
import os
from pathlib import Path

from ldebm.errors import UserError
from ldebm.runtime.tracking import QUIET, project_folder, redacted, store_uri

RUN = "runs:/"
LOGGED = "model"  # where in a run's artifacts


def fetched(run: str, into: str) -> Path:
    """The artifacts of `runs:/ID`, those in `model/`, or of `runs:/ID/PATH`, in a folder in `into`.

    Raises:
        UserError: MLflow is not installed, or the store has no such run or artifacts.
    """
    if importlib.util.find_spec("mlflow") is None:
        raise UserError(f"{run}: MLflow is not installed; `pip install mlflow`")
    store = store_uri()
    if store.startswith("sqlite:") and not Path(store.removeprefix("sqlite:///")).exists():
        raise UserError(
            f"{run}: there is no mlflow.db in {project_folder()}; go to the project, or name its "
            "store in MLFLOW_TRACKING_URI"
        )
    for name, value in {**QUIET, "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false"}.items():
        os.environ.setdefault(name, value)
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    identity, _, path = run.removeprefix(RUN).partition("/")
    uri = f"{RUN}{identity}/{path or LOGGED}"
    try:
        return Path(download_artifacts(artifact_uri=uri, dst_path=into, tracking_uri=store))
    except (MlflowException, OSError) as error:
        problem = " ".join(redacted(str(error)).split())
        raise UserError(f"{uri}: {redacted(store)} does not give it ({problem})") from None
