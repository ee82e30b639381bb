"""A trained model's folder out of MLflow, where its training has logged it."""

import importlib.util
import os
from pathlib import Path

from ldebm.errors import UserError
from ldebm.runtime.sender import QUIET
from ldebm.runtime.store import project_folder, redacted, store_uri

RUN = "runs:/"
LOGGED = "model"  # where in a run's artifacts


def fetched(run: str, into: str) -> Path:
    """What `runs:/ID` logged as its model, or what lies at `runs:/ID/PATH`, put below `into`.

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

    _, _, path = run.removeprefix(RUN).partition("/")
    try:
        uri = run if path else _model_of(run, store)
        return Path(download_artifacts(artifact_uri=uri, dst_path=into, tracking_uri=store))
    except (MlflowException, OSError) as error:
        problem = " ".join(redacted(str(error)).split())
        raise UserError(f"{run}: {redacted(store)} does not give it ({problem})") from None


def _model_of(run: str, store: str) -> str:
    """The address of the model that a training made; of a run filled by hand, of its `model/`."""
    from mlflow import MlflowClient

    outputs = MlflowClient(store).get_run(run.removeprefix(RUN)).outputs
    made = outputs.model_outputs if outputs is not None else []
    return f"models:/{made[0].model_id}" if made else f"{run}/{LOGGED}"
