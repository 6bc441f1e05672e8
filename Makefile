# EchoQ with two commands: `make run` and `make test`. `make help` lists the rest.

PYTHON ?= $(firstword $(shell for p in python3.11 python3.12 python3.13 python3; do command -v $$p; done))
# Another place for torch alone, e.g. make run TORCH_INDEX=https://download.pytorch.org/whl/cpu
TORCH_INDEX ?=
TORCH := torch==2.13.0

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check --constraint constraints.txt
READY := $(VENV)/.ready
READY_DEV := $(VENV)/.ready-dev
READY_PACKAGE := $(VENV)/.ready-package
CODE := echoq_desktop echoq_models training tests installer

.DEFAULT_GOAL := help
.PHONY: help run venv test lint format bench bench-bm3d wheel installer libs clean

help: ## list what there is
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(READY) libs ## open EchoQ on the sample loop; without a display do the same job into echoq-output/
	@$(BIN)/python -m echoq_desktop

venv: $(READY) ## make .venv with the pinned dependencies
	@echo "EchoQ is ready in $(VENV)"

test: lint libs ## lint, types, import contracts, then every test
	QT_QPA_PLATFORM=offscreen $(BIN)/python -m pytest -o faulthandler_timeout=600 -o faulthandler_exit_on_timeout=true

lint: $(READY_DEV) ## ruff, mypy and the import contracts
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY_DEV) ## put the code into its form
	$(BIN)/ruff check --fix $(CODE)
	$(BIN)/ruff format $(CODE)

bench: $(READY_DEV) libs ## measure speed and memory on this machine
	$(BIN)/python -m tests.benchmarks.bench_networks --json runs/bench.json
	QT_QPA_PLATFORM=offscreen $(BIN)/python -m tests.benchmarks.bench_denoise
	QT_QPA_PLATFORM=offscreen $(BIN)/python tests/benchmarks/bench_player.py
	QT_QPA_PLATFORM=offscreen $(BIN)/python -m tests.benchmarks.bench_quality
	$(BIN)/python -m tests.benchmarks.bench_batch

bench-bm3d: $(READY_DEV) ## compare BM3D with the reference package (non-commercial) and other filters
	$(PIP) --no-build-isolation --editable '.[dev,bench]'
	$(BIN)/python -m tests.benchmarks.bench_bm3d --json runs/bench_bm3d.json

wheel: $(READY_DEV) ## build the wheel into dist/
	$(BIN)/python -m build --wheel --no-isolation

installer: $(READY_PACKAGE) libs ## build what a person installs on this system into dist/ (minutes, 2 GiB)
	$(BIN)/python installer/build.py

libs: ## check the system libraries that Qt needs on Linux
	@$(PYTHON) installer/system_libs.py

clean: ## remove what was built and cached, .venv stays
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find $(CODE) -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "EchoQ needs Python 3.11, 3.12 or 3.13: install one and run make again."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' \
		|| { echo "EchoQ needs Python 3.11, 3.12 or 3.13, not $(PYTHON): make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || $(PYTHON) installer/system_libs.py --venv
	$(PYTHON) -m venv $(VENV)

$(READY): $(BIN)/python pyproject.toml constraints.txt
	$(PIP) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) $(TORCH)
	$(PIP) hatchling editables
	$(PIP) --no-build-isolation --editable .
	@touch $@

$(READY_PACKAGE): $(READY)
	$(PIP) --no-build-isolation --editable '.[package]'
	@touch $@

$(READY_DEV): $(READY)
	$(PIP) --no-build-isolation --editable '.[dev]'
	@touch $@
