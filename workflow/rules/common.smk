# Parameters (validated before any job), and what the rules ask of the one list of steps, ldebm/pipeline/project.py.

import re
import sys
from difflib import get_close_matches
from pathlib import Path
from shlex import quote

SOURCE = Path(workflow.basedir)  # this copy of the source, whatever else is installed
sys.path.insert(0, str(SOURCE))
from ldebm.cli import MODEL_FAILED
from ldebm.data.files import REAL
from ldebm.errors import UserError, of_system
from ldebm.pipeline import announce
from ldebm.pipeline.project import KINDS, OPTIONS, Project
from ldebm.pipeline.view import View, closing, quieten
from ldebm.runtime import device
from ldebm.runtime.tracking import Shared

KEYS = (*OPTIONS, "threads")


def written(value):
    """An option's value as `ldebm` reads it: of a list, with commas."""
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def options():
    """What `--config` gives the verbs, and threads a job."""
    for key in config:
        if key not in KEYS:
            near = get_close_matches(key, KEYS, 1)
            raise UserError(f"--config {key}: unknown key; {f'did you mean {near[0]}?' if near else 'there are ' + ', '.join(KEYS)}")
    for key in set(config) & set(OPTIONS) - {"rows"}:
        if not isinstance(config[key] or "", str):  # 2024_01_05 is read as the number 20240105
            raise UserError(f"--config {key}: {config[key]!r} is read as a number; write a name as ./NAME")
    given = {key: written(config[key]) for key in OPTIONS if config.get(key) not in (None, "")}
    threads = str(config.get("threads", 2))
    if not threads.isdecimal() or int(threads) < 1:
        raise UserError(f"--config threads: {threads!r} is no number of threads; give 1 or more")
    return given, int(threads)


def check_places():
    """What Snakemake's paths cannot hold, and a target that these options do not make."""
    for key, path in (("root", PROJECT.root), ("results", PROJECT.results)):
        if not str(path).isprintable() or set(str(path)) & set("{}"):
            raise UserError(f"--config {key}: {str(path)!r}: braces and control characters cannot be used in Snakemake's paths")
        if path.exists() and not path.is_dir():
            raise UserError(f"--config {key}: {str(path)!r} is no folder")
    asked, made = "results/table.csv", f"{PROJECT.results.as_posix()}/table.csv"
    if asked in sys.argv and asked != made:  # Snakemake would find it there, of other parameters, and be content
        raise UserError(f"{asked} is not what these options make; leave the target out, or name {made}")


try:
    GIVEN, THREADS = options()
    PROJECT = Project.load(**GIVEN)
    check_places()
    ON_GPU = device.kind(PROJECT.params.run.device) == "cuda"
    STALE = PROJECT.plan()
except UserError as error:
    sys.exit(f"ldebm: error: {error}")  # one line; an exception would be printed with the place in this file
except OSError as error:
    sys.exit(f"ldebm: error: {of_system(error)}")

ROOT = "" if PROJECT.root == Path() else f"{PROJECT.root.as_posix()}/"
RESULTS = f"{PROJECT.results.as_posix()}/"

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


def inputs_of(step):
    """Its plan, newer than its outputs while they are not what it says; and what it reads."""
    reads = (one.path / "manifest.json" if one.maker else one.path for one in step.inputs.values())
    return [step.plan.as_posix(), *(path.as_posix() for path in reads)]


def models_of(verb):
    """A pattern of the models that have such a step."""
    return "|".join(re.escape(key) for key in dict.fromkeys(one.key for one in PROJECT.steps() if one.verb == verb))


def inputs_on_model(verb):
    return lambda wildcards: inputs_of(PROJECT.step(verb, wildcards.model, int(wildcards.seed)))


def no_failures():
    """Raise what failed of the models, a line each."""
    if failures := PROJECT.failures():
        raise WorkflowError("\n".join(f"{one.step} failed: {one.reason}" for one in failures))
