PYTHON ?= python3
BIN := .venv/bin

.PHONY: install demo test test-all browser bench docs check clean

install: .venv/installed

.venv/installed: constraints.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r constraints.txt
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

.venv-airflow/installed: constraints-airflow.txt pyproject.toml
	$(PYTHON) -m venv .venv-airflow
	.venv-airflow/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r constraints-airflow.txt
	.venv-airflow/bin/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

demo: install
	$(BIN)/python -m pipelines.sandbox.demo

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: check
	$(BIN)/pytest -n auto --dist loadfile -m "not long"

test-all: check browser .venv-airflow/installed
	$(BIN)/pytest -n auto --dist loadfile -m long

browser:
	@command -v chromium google-chrome >/dev/null || { apt-get update -qq && \
	  apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core; } || \
	  { echo "test-all needs Chromium: install it by your system's packages"; exit 1; }

bench: install
	$(BIN)/python -m benchmarks

docs: install
	$(BIN)/python -m docs.tables

clean:
	rm -rf .venv .venv-airflow demo.duckdb .demo .benchmarks build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
