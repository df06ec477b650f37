# `make help` lists what there is. Everything runs in .venv (core) and .venv-seg (segmentation), made on first use.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
DEMO := studies/demo
TEST_WORKERS ?= 3
# Test clusters at a time, each with its own share of tests/slurm; most of their time is waiting.
SLURM_CLUSTERS ?= 2
# Several tests at a time, one thread each; jobs of studies set their own. Many wait, so that three keep two cores busy.
TEST_ENVIRONMENT := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1

.PHONY: help demo test test-real test-demo test-segmentation test-slurm slurm-up slurm-down lint docs bench config clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-18s %s\n", $$1, $$2}'

.venv/ready: pyproject.toml envs/constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "GuideGen needs Python 3.11 or newer; found " + sys.version + "; set PYTHON=/path/to/python3.11")'
	@echo "Installing packages into .venv (2.8 GB, some minutes, nothing is shown meanwhile)"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c envs/constraints.txt -e '.[dev]'
	@touch $@

.venv-seg/ready: envs/segmentation.txt envs/constraints.txt
	$(PYTHON) -m venv .venv-seg
	.venv-seg/bin/python -m pip install --quiet --disable-pip-version-check -r envs/segmentation.txt
	.venv-seg/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@

.venv-crate/ready: envs/crate-validator.txt
	$(PYTHON) -m venv .venv-crate
	.venv-crate/bin/python -m pip install --quiet --disable-pip-version-check -r envs/crate-validator.txt
	@touch $@

demo: .venv/ready ## Run the whole study on the embedded archive (about 20 minutes on two cores, installation included) and say where the report is
	@test -f $(DEMO)/config/config.yaml || $(BIN)/guidegen init $(DEMO) --preset demo >/dev/null
	$(BIN)/guidegen run --study $(DEMO) $(if $(OPTIONS),-- $(OPTIONS))

test: .venv/ready .venv-crate/ready ## Unit tests and a whole smoke study
	$(TEST_ENVIRONMENT) $(BIN)/python -m pytest -n $(TEST_WORKERS) --dist loadfile --no-loadscope-reorder -m "not real and not slurm and not segmentation and not demo"

test-real: .venv/ready ## The study on real CT series (GUIDEGEN_REALDATA, or ../shared/realdata)
	$(BIN)/python -m pytest -m real tests/real tests/retrieve

test-demo: .venv/ready ## What each switch does in trained models (GUIDEGEN_DEMO, or the demo); a quarter of an hour
	$(BIN)/python -m pytest -rP -m demo tests/demo

test-segmentation: .venv/ready .venv-seg/ready ## The real code of TotalSegmentator and nnU-Net, offline
	.venv-seg/bin/python -m pytest tests/segmentation tests/segment/test_nnunet.py

test-slurm: .venv/ready ## The workflow on a real SLURM cluster of this machine (needs root and the packages)
	$(TEST_ENVIRONMENT) $(BIN)/python -m pytest -n $(SLURM_CLUSTERS) --dist loadfile --no-loadscope-reorder tests/slurm

slurm-up: .venv/ready ## Start a SLURM cluster of real daemons on this machine: two CPU nodes, one node with four GPUs
	$(BIN)/python tests/slurm/slurm_cluster.py up --root build/slurm

slurm-down: .venv/ready ## Stop it
	$(BIN)/python tests/slurm/slurm_cluster.py down --root build/slurm

lint: .venv/ready ## ruff, pyright, snakefmt, codespell (snakemake --lint is in make test)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/snakefmt --check Snakefile rules
	$(BIN)/codespell

docs: .venv/ready ## Build the documentation into build/docs; warnings are errors
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict
	@echo "Documentation: $(CURDIR)/build/docs/index.html"

bench: .venv/ready ## Measure; writes benchmarks/results.json and results.md
	$(BIN)/python benchmarks/run.py

config: .venv/ready ## Write config/config.yaml and workflow/schemas/config.schema.json from the config models
	$(BIN)/python -m guidegen.config_files .

clean: ## Remove the demo study and caches; environments stay
	rm -rf $(DEMO) build .pytest_cache .ruff_cache .hypothesis
