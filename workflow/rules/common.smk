# Parameters (validated before any job), and what the rules ask of the pipeline.

import sys
from pathlib import Path
from shlex import quote

SOURCE = Path(workflow.basedir)  # this copy of the source, whatever else is installed
sys.path.insert(0, str(SOURCE))
from ldebm.pipeline import announce, steps
from ldebm.errors import UserError
from ldebm.pipeline.project import REAL, REAL_SEED, Project

OPTIONS = {key: str(config[key]) for key in ("params", "overlay", "root", "results") if config.get(key)}
try:
    PROJECT = Project.load(**OPTIONS)
except UserError as error:
    sys.exit(f"ldebm: error: {error}")  # one line; an exception would be printed with the place in this file

ROOT = "" if PROJECT.root == Path() else f"{PROJECT.root.as_posix()}/"
RESULTS = f"{PROJECT.results.as_posix()}/"
THREADS = int(config.get("threads", 2))
ON_GPU = announce.on_gpu(PROJECT.params.run.device)
SEEDS = PROJECT.params.seeds
SEED_FOLDER = f"{{model}}/seed{{seed}}"

announce.once(PROJECT, ON_GPU, workflow.cores or 1)

# In a rule, `ldebm` is that source, on these parameters, under the Python that runs Snakemake (or that of a conda job).
PYTHON = "python" if workflow.deployment_settings.deployment_method else quote(sys.executable)
ARGUMENTS = " ".join(f"--{key} {quote(value)}" for key, value in OPTIONS.items())
COMMAND = f'PYTHONPATH={quote(str(SOURCE))} {PYTHON} -m ldebm "$@" {ARGUMENTS}'
shell.prefix(f"set -euo pipefail; ldebm() {{{{ {COMMAND}; }}}}; ")


wildcard_constraints:
    model=r"[^/]+",
    seed=r"-?\d+",


def step(verb, wildcards):
    """The step of a rule that has the wildcards model and seed, or neither."""
    return getattr(PROJECT, verb)(*((wildcards.model, int(wildcards.seed)) if "model" in wildcards.keys() else ()))


def slice_of(verb):
    """The step's slice of the parameters: only its change triggers the rule."""
    return lambda wildcards: steps.canonical(step(verb, wildcards).parameters)


def stamp_of(verb):
    """A file newer than the step's outputs while they disagree with parameters, source or inputs, however they came here."""

    def stamp(wildcards):
        one = step(verb, wildcards)
        return steps.stamp(one, steps.is_stale(one)).as_posix()

    return stamp


def outputs_of_table(wildcards):
    """Manifests of everything that the table reads."""
    folders = [one.output.as_posix() for one in PROJECT.steps() if one.name != "table"]
    return [f"{folder}/manifest.json" for folder in folders]


def own_texts(wildcards):
    """The files of a user's own corpus."""
    return [one.path.as_posix() for one in PROJECT.raw().inputs.values()]
