# Everything here only calls a script. `make` alone lists the targets.
PYTHON ?= python3
BUDGET ?= quick
SWEEP ?= lambda
LAUNCHER ?= joblib
PRETRAINED ?= pretrained
DEVICE ?=
OVERRIDES ?=

# W&B needs no account and no network unless WANDB_MODE=online says otherwise.
export WANDB_MODE ?= offline

SELF := $(firstword $(MAKEFILE_LIST))
ENV := .venv
PY := $(ENV)/bin/python
READY := $(ENV)/.ready
OPTIONS = budget=$(BUDGET) pretrained=$(PRETRAINED) $(if $(DEVICE),device=$(DEVICE)) $(OVERRIDES)
REPRODUCE := $(shell sed -n 's/^\(reproduce-[a-z0-9-]*\):.*/\1/p' $(SELF))
ITEMS := $(REPRODUCE:reproduce-%=%)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help setup test lint bench report sweep sweep-summary reproduce lock clean clean-env $(REPRODUCE)

help:
	@echo "usage: make TARGET [BUDGET=paper|quick|smoke] [PRETRAINED=pretrained|null] [DEVICE=cpu|gpu] [OVERRIDES='seed=1 ...']"
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/\1\t\2/p' $(SELF) | while IFS="$$(printf '\t')" read -r target text; \
		do printf '  %-20s %s\n' "$$target" "$$text"; done

setup: $(READY) ## make the environment .venv from requirements.lock (Python 3.10 or newer; PYTHON=... picks it)

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version.split()[0]; sys.exit(0 if sys.version_info >= (3, 10) else \
		f"gpot needs Python 3.10 or newer; $(PYTHON) is {v}. Run: make setup PYTHON=python3.11")'
	$(PYTHON) -m venv $(ENV)
	$(PY) -m pip install --disable-pip-version-check --progress-bar off -r requirements.lock
	$(PY) -m pip install --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

test: $(READY) ## run the whole test suite (no network needed)
	$(PY) -m pytest

lint: $(READY) ## ruff and mypy
	$(PY) -m ruff check .
	$(PY) -m mypy

bench: $(READY) ## time one training step of the GP flow
	$(PY) benchmarks/gp_step.py --out outputs/bench/gp_step.json

report: $(READY) ## write tables and figures again from trained models in outputs/ and pretrained/; trains nothing
	@for item in $(ITEMS); do $(PY) scripts/report.py experiment=$$item upstream=require $(OPTIONS) || exit 1; done

sweep: $(READY) ## run a ready sweep: SWEEP=lambda|steps|size|pairs LAUNCHER=joblib|submitit_slurm|...; again: what is missing
	$(PY) scripts/evaluate.py -m sweep=$(SWEEP) launcher=$(LAUNCHER) $(OPTIONS)

sweep-summary: $(READY) ## tables (mean and spread over seeds) and plots of all sweeps, from what they left; runs nothing
	$(PY) scripts/sweep_summary.py

reproduce: ## every table and figure below, in order
	@for target in $(REPRODUCE); do $(MAKE) --no-print-directory -f $(SELF) $$target || exit 1; done

reproduce-table1: $(READY) ## Table 1: disentanglement, completeness and informativeness on dSprites
	$(PY) scripts/report.py experiment=table1 $(OPTIONS)

reproduce-fig1: $(READY) ## Figure 1: a GP map moves Gaussian particles, also as an animation
	$(PY) scripts/report.py experiment=fig1 $(OPTIONS)

reproduce-fig2: $(READY) ## Figure 2: eight Gaussians, coloured by their place, under BNAF and BNAF+GP
	$(PY) scripts/report.py experiment=fig2 $(OPTIONS)

reproduce-fig3: $(READY) ## Figure 3: eight Gaussians; CP-Flow, BNAF, BNAF+GP, and the exact optimum
	$(PY) scripts/report.py experiment=fig3 $(OPTIONS)

reproduce-fig4: $(READY) ## Figure 4: two moons; GP, GP+Euler, GP+spectral, and their energies
	$(PY) scripts/report.py experiment=fig4 $(OPTIONS)

reproduce-table3: $(READY) ## Table 3: how the GP flows on 2-D data are trained, as configured against as printed
	$(PY) scripts/report.py experiment=table3 $(OPTIONS)

lock: ## solve requirements.lock anew from pyproject.toml (network; the pinned torch stays)
	$(PYTHON) -m venv $(ENV)-lock
	$(ENV)-lock/bin/python -m pip install --quiet --disable-pip-version-check uv
	@grep '^torch==' requirements.lock > $(ENV)-lock/keep.txt
	$(ENV)-lock/bin/uv pip compile --universal --python-version 3.10 --extra dev --constraint $(ENV)-lock/keep.txt \
		--no-annotate --no-header --quiet --upgrade --output-file $(ENV)-lock/solved.txt pyproject.toml
	{ sed -n '/^#/p' requirements.lock; grep -vE '^(nvidia-|cuda-|triton)' $(ENV)-lock/solved.txt; } > $(ENV)-lock/new.txt
	mv $(ENV)-lock/new.txt requirements.lock
	rm -rf $(ENV)-lock

clean: ## remove everything under outputs/, trained models included
	@mkdir -p outputs
	find outputs -mindepth 1 -maxdepth 1 ! -name .gitkeep ! -name README.md -exec rm -rf {} +

clean-env: ## remove .venv
	rm -rf $(ENV) $(ENV)-lock
