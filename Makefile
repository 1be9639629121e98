# All commands for developers. `make setup` builds .venv from the pinned versions; the other targets build it when needed.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
DOCS   := .venv-docs
# Always keep compiled modules: otherwise every Airflow process compiles thousands of them.
export PYTHONDONTWRITEBYTECODE :=
# One process for each core. Tests of a file stay together, because they share slow fixtures; slow files come first.
PARALLEL := --numprocesses auto --dist loadfile --no-loadscope-reorder
PIN    := $(BIN)/uv pip compile --quiet --python-version 3.11 --no-header --no-annotate --no-emit-index-url --no-emit-find-links

.PHONY: setup demo test fuzz coverage compose-test chaos exits recovery soak telemetry stress model bench mwaa matrix check format pins release-check release-tag clean

setup: $(STAMP)

$(STAMP): requirements/dev.txt pyproject.toml local_emr/pyproject.toml
	@echo "installing requirements/dev.txt into $(VENV), once"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; choose one with: make PYTHON=python3.12 ...")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --requirement requirements/dev.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable . --editable local_emr
	@touch $@

# Two daily DAGs share one Elastic IP on a real Airflow and a local EMR. ALL=1 adds a killed task, three nodes, a NAT
# gateway, an empty zone and a failover. KEEP=1 leaves it running and prints the URLs.
demo: $(STAMP)
	@$(BIN)/python -m demo $(if $(ALL),--all) $(if $(KEEP),--keep)

test: $(STAMP)
	@$(BIN)/python -m pytest $(PARALLEL) $(ARGS)

# The documentation site, docs/_build/html/index.html; a dead link, a missing docstring or any other warning fails. It has a
# separate environment, because the AWS CLI in the other one needs an old docutils.
.PHONY: docs
docs: $(DOCS)/.installed
	@$(DOCS)/bin/python -m sphinx -q -W --keep-going -b html $(ARGS) docs docs/_build/html
	@echo "docs/_build/html/index.html"

$(DOCS)/.installed: requirements/docs.txt | $(STAMP)
	@echo "installing requirements/docs.txt into $(DOCS), once"
	@test -x $(DOCS)/bin/python || $(PYTHON) -m venv $(DOCS)
	@$(BIN)/uv pip install --quiet --python $(DOCS)/bin/python --requirement requirements/docs.txt
	@$(BIN)/uv pip install --quiet --python $(DOCS)/bin/python --no-deps --editable .
	@touch $@

# The lines of the provider that the unit tests run, with a minimum (pyproject.toml); with ARGS other tests, without one.
coverage: $(STAMP)
	@$(BIN)/python -m coverage run -m pytest $(or $(ARGS),tests/unit)
	@$(BIN)/python -m coverage combine --quiet
	@$(BIN)/python -m coverage report $(if $(ARGS),--fail-under=0,--include='airflow_eip_provider/*')

# Compares generated commands and records with their references, for ten minutes; ARGS="--minutes 60" for longer.
fuzz: $(STAMP)
	@$(BIN)/python -m tests.verification.fuzz $(ARGS)

# docker-compose.yaml on a real engine, with the example DAGs and a restart; skipped if no engine can be started.
compose-test: $(STAMP)
	@$(BIN)/python -m tests.verification.compose

# A whole lease period, repeated with one fault at each of its calls; and the same with the stock operators.
chaos: $(STAMP)
	@$(BIN)/python -m tests.verification.chaos $(ARGS)

# Every way in which a task or a DAG run can end, on a real Airflow; AIRFLOW=VENV names another version's environment.
exits: $(STAMP)
	@$(BIN)/python -m tests.verification.exits $(if $(AIRFLOW),--airflow $(AIRFLOW)) $(ARGS)

# How long it takes until another cluster takes over from a failed long-running one, on a real Airflow; minutes.
recovery: $(STAMP)
	@$(BIN)/python -m pytest -p no:xdist tests/verification/recovery $(ARGS)

# Metrics, traces and notifications of a real Airflow arrive; TELEMETRY_VENVS names a folder with other versions.
telemetry: $(STAMP)
	@$(BIN)/python -m pytest -p no:xdist $(or $(ARGS),tests/verification/telemetry)

# 200 daily runs on one Elastic IP on a real Airflow, while calls fail and processes are killed; over an hour.
soak: $(STAMP)
	@$(BIN)/python -m tests.verification.soak $(ARGS)

# 16 processes run 3,200 lease periods on one Elastic IP while calls fail and processes are killed; about 20 minutes.
# ARGS="--addresses 3" for three addresses; most processes then ask for any one of two.
# ARGS=--queue for figures of the queue instead: many arrivals at once, a slow Airflow, long queues; some minutes.
stress: $(STAMP)
	@$(BIN)/python -m tests.verification.stress $(ARGS)

# Every interleaving of the lease protocol with failures, and a mutation for each guard; about 3 minutes.
model: $(STAMP)
	@$(BIN)/python -m tests.verification.model

# The cost of the lock compared with other lock clients, and the time of ten runs that share an address; about 5 minutes.
bench: $(STAMP)
	@$(BIN)/python -m bench
	@$(BIN)/python -m bench.triggerer

# dist/mwaa/, for an Amazon MWAA environment: docs/mwaa.md. CONSTRAINTS=FILE includes a constraints file.
mwaa: $(STAMP)
	@$(BIN)/python deploy/mwaa/build.py $(if $(CONSTRAINTS),--constraints $(CONSTRAINTS))

# The tests in every supported environment, and the table of the results; ARGS="--only mwaa-3.0.6" for one of them; over an hour.
matrix: $(STAMP)
	@$(BIN)/python -m tests.verification.matrix $(ARGS)

check: $(STAMP)
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(STAMP)
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

# dist/: the provider and the local EMR as wheels and sdists, checked, and installed into an empty environment.
release-check: $(STAMP)
	@$(BIN)/python deploy/release.py

# The same, and a release tag if everything is ready to be published.
release-tag: $(STAMP)
	@$(BIN)/python deploy/release.py --tag

# Renew the pinned versions, for development and for the images of docker-compose.yaml.
pins:
	@$(PIN) --extra dev --no-emit-package airflow-eip-provider --no-emit-package local-emr --output-file requirements/dev.txt pyproject.toml
	@grep -v '^docutils==' requirements/dev.txt > requirements/constraints.tmp
	@$(PIN) --extra docs --constraint requirements/constraints.tmp --no-emit-package airflow-eip-provider --output-file requirements/docs.txt pyproject.toml
	@rm requirements/constraints.tmp
	@for image in airflow local-aws; do $(PIN) --python-platform linux --output-file requirements/compose-$$image.txt requirements/compose-$$image.in || exit; done

clean:
	rm -rf $(VENV) $(DOCS) docs/_build dist .demo .exits .matrix .hypothesis .mypy_cache .pytest_cache .ruff_cache .coverage*
