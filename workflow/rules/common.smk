# Parameters (validated before any job), and what the rules ask of the one list of steps, ldebm/pipeline/project.py.

import sys
from pathlib import Path
from shlex import quote

SOURCE = Path(workflow.basedir)  # this copy of the source, whatever else is installed
sys.path.insert(0, str(SOURCE))
from ldebm.cli import MODEL_FAILED
from ldebm.data.files import REAL
from ldebm.errors import UserError, of_system
from ldebm.pipeline import announce, asked
from ldebm.pipeline.asked import inputs_of
from ldebm.pipeline.project import Project
from ldebm.pipeline.verbs import ON_MODEL
from ldebm.pipeline.view import View, closing, quieten
from ldebm.runtime import device
from ldebm.runtime.sender import Shared


try:
    GIVEN, THREADS = asked.options(config), asked.threads(config)
    PROJECT = Project.load(**GIVEN)
    asked.check_places(PROJECT, sys.argv)
    ON_GPU = device.kind(PROJECT.params.run.device) == "cuda"
    STALE = PROJECT.plan()
except UserError as error:
    sys.exit(f"ldebm: error: {error}")  # one line; an exception would be printed with the place in this file
except OSError as error:
    sys.exit(f"ldebm: error: {of_system(error)}")

ROOT, RESULTS = asked.folder(PROJECT.root), f"{PROJECT.results.as_posix()}/"

# In a rule, `ldebm` is that source, on these parameters, under the Python that runs Snakemake (or that of a conda job).
PYTHON = "python" if workflow.deployment_settings.deployment_method else quote(sys.executable)
ARGUMENTS = " ".join(quote(f"--{key}={value}") for key, value in GIVEN.items())
COMMAND = f'PYTHONPATH={quote(str(SOURCE))} {PYTHON} -m ldebm "$@" {ARGUMENTS}'.replace("{", "{{").replace("}", "}}")
# `|| model_failed` lets that status pass: all else is done, and what failed is in its outputs
shell.prefix(f"set -euo pipefail; ldebm() {{{{ {COMMAND}; }}}}; model_failed() {{{{ [ $? -eq {MODEL_FAILED} ]; }}}}; ")


VIEW = View()
SENDING = Shared(VIEW.say)  # one process that sends to MLflow, for all jobs
if not workflow.dryrun:
    quieten(logger)


wildcard_constraints:
    model="|".join([*PROJECT.params.models, REAL]).replace(".", r"\."),
    seed=r"-?\d+",


# What `snakemake --report FILE.html` shows of the table's outputs: file, category and caption, workflow/report/<caption>.rst.
REPORTED = (
    ("report.html", "Page", "page"),
    ("table.csv", "Table", "table"),
    ("claims.csv", "Table", "claims"),
    ("interpretability.csv", "Symbols", "symbols"),
    *((f"figures/{name}.png", "Figures", name) for name in ("metrics", "curves", "terms", "latent", "priors")),
)


def reported(file, category, caption):
    return report(update(f"{RESULTS}{file}"), category=category, caption=f"../report/{caption}.rst", labels={"file": file})


def inputs_on_model(verb):
    return lambda wildcards: inputs_of(PROJECT.step(verb, wildcards.model, int(wildcards.seed)))


def no_failures():
    """Raise what failed of the models, a line each."""
    if failures := PROJECT.failures():
        raise WorkflowError("\n".join(f"{one.step} failed: {one.reason}" for one in failures))
