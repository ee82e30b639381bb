# make demo    the whole pipeline on a small corpus drawn from a grammar, into results/demo
# make test    style, types, workflow and tests
# make ui      the recorded runs, in a browser
# make lint    style, types and workflow only
# make reliability   faults of every kind, injected for real: docs/reliability.md
# make audit   known vulnerabilities of the pinned packages
# Needs Python 3.11 or later, git and a package index. PYTHON and TORCH may be given, e.g. make demo PYTHON=python3.12

PYTHON ?= python3
TORCH ?= torch==2.13.0
BIN := .venv/bin
INSTALLED := .venv/installed
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
ENVIRONMENT := PATH="$(CURDIR)/$(BIN):$$PATH" MLFLOW_DISABLE_TELEMETRY=true DO_NOT_TRACK=true

.PHONY: demo test lint reliability ui audit clean

demo: $(INSTALLED)
	$(ENVIRONMENT) snakemake --cores all --workflow-profile demo

# By files, side by side: the tests of a file may share a run of the workflow.
test: lint
	$(ENVIRONMENT) pytest -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

lint: $(INSTALLED)
	$(ENVIRONMENT) ruff check .
	$(ENVIRONMENT) ruff format --check .
	$(ENVIRONMENT) mypy
	$(ENVIRONMENT) snakemake --lint

reliability: $(INSTALLED)
	$(ENVIRONMENT) OMP_NUM_THREADS=1 python -m reliability

ui: $(INSTALLED)
	@echo "the runs: http://127.0.0.1:5000/#/experiments?workflowType=machine_learning"
	$(ENVIRONMENT) MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false mlflow ui --backend-store-uri sqlite:///mlflow.db

# Installed anew when the pins change. Deleting .venv starts over. Every file of the lock must have one
# of its hashes. Torch comes after it, so that what torch needs is there already, and from whatever
# index the machine has: its builds differ by accelerator, and no list of hashes fits all. Where a
# build has an address it is checked too: make TORCH='torch @ https://…/torch-….whl#sha256=…'
$(INSTALLED): requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed; name one: make PYTHON=python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) install --require-hashes -r requirements.lock
	$(PIP) install "$(TORCH)"
	$(PIP) install --no-deps --no-build-isolation -e .
	touch $@

# The pins against the list of known vulnerabilities, by a tool in an environment of its own. --strict: a pin of
# which nothing is known fails too, so that a service that does not answer is not taken for good news.
audit:
	$(PYTHON) -m venv .venv/audit
	.venv/audit/bin/python -m pip --quiet --disable-pip-version-check install pip-audit
	.venv/audit/bin/pip-audit --strict --disable-pip --require-hashes --progress-spinner off -r requirements.lock

# The environment and caches; results stay.
clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache
