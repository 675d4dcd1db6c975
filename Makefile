# Needed beforehand: Python 3.11 or newer and make. Everything else is set up in .venv/ and the user's cache.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
# Each worker of `make test` has a Spark session and engines of its own: two gigabytes and a core. tests/e2e starts
# whole commands with sessions of their own, so it comes after, when those are gone.
WORKERS ?= 2
SHORT := "not slow and not soak"
SIDE_BY_SIDE := -n $(WORKERS) --dist loadfile --no-loadscope-reorder
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check --no-input

.PHONY: help setup setup-dev demo test test-faults test-soak lint format bench dist sbom audit lock clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(VENV)/.ready  ## make .venv/ with .venv/bin/headrace
setup-dev: $(VENV)/.ready-dev

$(VENV)/bin/pip:
	@test -n "$(PYTHON)" || { echo "headrace needs Python 3.11 or newer on the PATH (or make PYTHON=/path/to/python)"; exit 2; }
	@echo "setting up .venv with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "python cannot make a venv; on Debian or Ubuntu: apt install python3-venv"; exit 2; }

$(VENV)/.ready: requirements/build.txt requirements/run.txt setup.py | $(VENV)/bin/pip
	@echo "installing locked dependencies (once, a few minutes)"
	@$(PIP) --require-hashes -r requirements/build.txt
	@$(PIP) --require-hashes --no-build-isolation -r requirements/run.txt
	@$(PIP) --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.ready-dev: requirements/dev.txt $(VENV)/.ready
	@echo "installing locked development dependencies"
	@$(PIP) --require-hashes --no-build-isolation -r requirements/dev.txt
	@touch $@

demo: setup  ## set up, start the engines, run the segments case as a batch and then its last month as a stream
	@$(BIN)/headrace up dynamodb kafka
	@$(BIN)/headrace run segments
	@$(BIN)/headrace demo

test: setup-dev  ## run the tests (engines are started by them)
	$(BIN)/pytest -q --doctest-modules lib
	$(BIN)/pytest --ignore tests/e2e -m $(SHORT) $(SIDE_BY_SIDE) --durations=15
	$(BIN)/pytest tests/e2e -m $(SHORT) $(SIDE_BY_SIDE) --durations=15

test-faults: setup-dev  ## run the long fault tests
	$(BIN)/pytest -m slow

test-soak: setup-dev  ## an hour under load with a fault every half minute
	$(BIN)/pytest -m soak

lint: setup-dev  ## ruff, mypy strict, import rooms
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup-dev  ## let ruff rewrite what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup-dev bench/.venv/.ready  ## measure against peers, side by side
	$(BIN)/python -m bench all

bench/.venv/.ready: bench/requirements.txt
	@echo "installing the peers (Feast, River, DuckDB, pandas, scikit-learn) in bench/.venv"
	@$(PYTHON) -m venv bench/.venv
	@bench/.venv/bin/pip install -q --require-hashes -r requirements/build.txt
	@bench/.venv/bin/pip install -q --require-hashes --no-build-isolation -r bench/requirements.txt
	@touch $@

dist: setup  ## headrace.zip and packed dependencies for spark-submit
	$(BIN)/python deploy/dist.py

sbom: setup-dev  ## dist/sbom.cdx.json: what a release is made of, from the lock files (CycloneDX)
	$(BIN)/python deploy/sbom.py

audit: setup-dev  ## locked Python dependencies against known vulnerabilities; says NOT RUN where no database answers
	$(BIN)/python deploy/audit.py

lock: setup-dev  ## resolve and lock dependencies and jars anew
	$(BIN)/pip install --quiet uv
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header requirements/build.in -o requirements/build.txt
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header setup.py --extra local -o requirements/run.txt
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header setup.py --extra dev -c requirements/run.txt -o requirements/dev.txt
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header bench/requirements.in -o bench/requirements.txt
	$(BIN)/python -m headrace.local.lock

clean:  ## remove what was built; engines' data stays in .headrace/
	rm -rf build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
