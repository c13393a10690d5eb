# `make` lists what there is. Everything runs from .venv, which is made from constraints.txt at first use.
PYTHON ?= python3
BIN := .venv/bin
CONFIG ?= configs/quickstart.yaml
INSTALLED := .venv/installed
EXTRAS_INSTALLED := .venv/installed-extras

.DEFAULT_GOAL := help

# Tests and benchmarks start hundreds of interpreters; without kept bytecode each would compile all sources again.
unexport PYTHONDONTWRITEBYTECODE

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(INSTALLED) ## Run the main job (CONFIG=configs/quickstart.yaml)
	$(BIN)/rnnpipe run $(CONFIG)

test: $(EXTRAS_INSTALLED) ## Run the tests, with the extras they need
	$(BIN)/python -m pytest

test-all: $(EXTRAS_INSTALLED) ## Run the tests and those that are left out of the gate
	$(BIN)/python -m pytest -m ''

check: $(INSTALLED) ## Lint, format, types, layers, configs, containers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/rnnpipe validate configs/*.yaml
	$(BIN)/hadolint docker/Dockerfile
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.compose-spec docker/*.yaml

bench: $(INSTALLED) ## Measure speed and write docs/PERFORMANCE.md (ONLY="training limit", QUICK=1, THREADS=2)
	@test -d .venv/lightning || $(BIN)/python -m pip install --quiet --no-deps --constraint constraints.txt \
		--target .venv/lightning lightning lightning-utilities torchmetrics || echo "Lightning isn't there to compare with"
	$(BIN)/python -m benchmarks $(ONLY) $(if $(QUICK),--quick) $(if $(THREADS),--threads $(THREADS))

faults: $(INSTALLED) ## Break it on purpose and compare (LONG=1: for hours, and writes the page)
	$(BIN)/python tests/campaign/campaign.py run $(if $(LONG),--long)

docs: $(INSTALLED) ## Make the documents and the API reference as pages in build/docs
	@$(BIN)/python -c 'import mkdocs, mkdocstrings' 2>/dev/null || \
		$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet
	@echo build/docs/index.html

pictures: $(INSTALLED) ## Draw the README's pictures from the workspace's run of CONFIG (default configs/mnist.yaml)
	$(BIN)/python docs/pictures.py $(if $(filter command line,$(origin CONFIG)),$(CONFIG))

ui: $(INSTALLED) ## Open the MLflow and Prefect pages on this machine
	$(BIN)/rnnpipe ui

stack: $(INSTALLED) ## Run Postgres, Prefect, MLflow and a worker here, until Ctrl-C
	$(BIN)/rnnpipe stack up

clean: ## Remove the environment and what tools left; the workspace .rnnpipe stays
	rm -rf .venv build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("rnnpipe needs Python 3.11 or newer; try: make PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,server]'
	@touch $(INSTALLED)

$(EXTRAS_INSTALLED): $(INSTALLED)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,server,ray,sweep,parquet,docs]'
	@touch $(EXTRAS_INSTALLED)

.PHONY: help run test test-all check bench faults docs pictures ui stack clean
