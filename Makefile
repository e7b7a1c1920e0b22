PYTHON ?= python3
BIN := .venv/bin
PIP := -m pip install -q --disable-pip-version-check
COMPILE := uv pip compile -q --universal --generate-hashes --no-annotate --no-header

.PHONY: install install-dev demo test test-all browser bench docs check pins clean

# The program alone.
install: .venv/installed

# The same environment with what tests, check, bench and docs need.
install-dev: .venv/installed-dev

.venv/installed: constraints.txt pyproject.toml
	@echo "Installing insightly-sync and its pinned packages into .venv; this takes a minute or two ..."
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed")'
	$(PYTHON) -m venv .venv
	$(BIN)/python $(PIP) --require-hashes -r constraints.txt
	$(BIN)/python $(PIP) --no-deps --no-build-isolation -e .
	touch $@

.venv/installed-dev: .venv/installed constraints-dev.txt
	@echo "Installing what the tests need into .venv; this takes some minutes ..."
	$(BIN)/python $(PIP) --require-hashes -r constraints-dev.txt
	touch $@

.venv-airflow/installed: constraints-airflow.txt pyproject.toml
	@echo "Installing Airflow for its tests into .venv-airflow; this takes some minutes ..."
	$(PYTHON) -m venv .venv-airflow
	.venv-airflow/bin/python $(PIP) --require-hashes -r constraints-airflow.txt
	.venv-airflow/bin/python $(PIP) --no-deps --no-build-isolation -e .
	touch $@

.venv-dbt/installed: constraints-dbt.txt
	@echo "Installing dbt for its tests into .venv-dbt; this takes a minute or two ..."
	$(PYTHON) -m venv .venv-dbt
	.venv-dbt/bin/python $(PIP) --require-hashes -r constraints-dbt.txt
	touch $@

# Without dependencies, for some differ from what the source pins: see pyproject.toml.
.venv-airbyte/installed: constraints-airbyte.txt
	@echo "Installing Airbyte's source for Insightly for its test into .venv-airbyte; this takes a minute ..."
	$(PYTHON) -m venv .venv-airbyte
	.venv-airbyte/bin/python $(PIP) --no-deps --ignore-requires-python --require-hashes -r constraints-airbyte.txt
	touch $@

demo: install
	$(BIN)/python -m pipelines.sandbox.demo

check: install-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Containers often have PYTHONDONTWRITEBYTECODE set: each program that a test or benchmark starts would be compiled anew.
test test-all bench: export PYTHONDONTWRITEBYTECODE =

# In the order of conftest.py: pytest-xdist's own begins last with what runs longest.
IN_PARALLEL := -n auto --dist loadgroup --no-loadscope-reorder

test: check
	$(BIN)/pytest $(IN_PARALLEL) -m "not long"

test-all: check browser .venv-airflow/installed .venv-dbt/installed .venv-airbyte/installed
	$(BIN)/pytest $(IN_PARALLEL) -m long

browser:
	@for name in chromium google-chrome; do command -v $$name >/dev/null && exit; done; \
	  command -v apt-get >/dev/null && apt-get update -qq && \
	  apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core && command -v chromium >/dev/null || \
	  { echo "No chromium or google-chrome found: install one with your system's package manager." >&2; exit 1; }

bench: install-dev
	$(BIN)/python -m benchmarks

docs: install-dev
	$(BIN)/python -m docs.tables
	$(BIN)/python -m docs.pictures

# After a change of the dependencies in pyproject.toml; each file keeps the versions it has where they still fit.
pins:
	$(COMPILE) pyproject.toml -o constraints.txt
	$(COMPILE) pyproject.toml --extra postgres --extra delta -c constraints.txt -o constraints-destinations.txt
	$(COMPILE) pyproject.toml --extra dev -c constraints-destinations.txt -o constraints-dev.txt
	$(COMPILE) pyproject.toml --extra airflow --extra postgres -o constraints-airflow.txt
	grep -o '^duckdb==[^ ]*' constraints.txt | $(COMPILE) --no-strip-extras --group dbt -c - -o constraints-dbt.txt
	$(COMPILE) --group airbyte -o constraints-airbyte.txt

clean:
	rm -rf .venv .venv-airflow .venv-dbt .venv-airbyte demo.duckdb demo.html .demo .benchmarks build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
