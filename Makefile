# Everything here only calls a script. `make` alone lists the targets.
PYTHON ?= python3
BUDGET ?= quick
SWEEP ?= lambda
LAUNCHER ?= joblib
PRETRAINED ?= pretrained
MODELS ?=
DEVICE ?=
OVERRIDES ?=
# Processes side by side: of `test`, of `reproduce` (an item each), of one `reproduce-...` (a row each); as many as cores, up to 8.
JOBS ?= $(shell n=$$(getconf _NPROCESSORS_ONLN); echo $$((n < 8 ? n : 8)))

# W&B needs no account and no network unless WANDB_MODE=online says otherwise.
export WANDB_MODE ?= offline

SELF := $(firstword $(MAKEFILE_LIST))
ENV := .venv
SITE := $(ENV)-docs
LIBRARIES := .venv-libraries
PY := $(ENV)/bin/python
READY := $(ENV)/.ready
ROWS = $(if $(filter 1,$(JOBS))$(filter gpu% ddp,$(DEVICE)),,report.jobs=$(JOBS))
OPTIONS = budget=$(BUDGET) pretrained=$(PRETRAINED) $(if $(DEVICE),device=$(DEVICE)) $(if $(MODELS),models=$(MODELS)) $(OVERRIDES)
REPRODUCE := $(shell sed -n 's/^\(reproduce-[a-z0-9-]*\):.*/\1/p' $(SELF))
ITEMS := $(REPRODUCE:reproduce-%=%)
# Those that take the longest first, so that processes side by side end together
LONGEST = $(filter $(REPRODUCE),reproduce-table1 reproduce-fig4 reproduce-fig3 reproduce-table2)
ORDERED = $(if $(filter-out 1,$(JOBS)),$(LONGEST) $(filter-out $(LONGEST),$(REPRODUCE)),$(REPRODUCE))
ONE_THREAD := $(if $(filter-out 1,$(JOBS)),OMP_NUM_THREADS=1)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help setup test test-libraries lint bench bench-truth bench-truth-long bench-libraries faults faults-sample figures report page sweep sweep-summary reproduce numbers docs lock clean clean-env $(REPRODUCE)

help:
	@echo "usage: make TARGET [BUDGET=paper|quick|smoke] [MODELS=ours|authors|paper|toy] [PRETRAINED=pretrained|null] [DEVICE=cpu|gpu] [JOBS=2] [OVERRIDES='seed=1 ...']"
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
	$(ONE_THREAD) $(PY) -m pytest $(if $(ONE_THREAD),-n $(JOBS) --dist loadfile)

test-libraries: $(LIBRARIES)/.ready ## run the tests of flows of zuko, nflows, normflows, Pyro, FrEIA and torchflows, and of parquet, in an environment of their own
	$(LIBRARIES)/bin/python -m pytest tests/libraries tests/data/test_tables.py tests/library/test_units.py

$(LIBRARIES)/.ready: $(READY) requirements-libraries.lock
	$(PY) -m venv --clear $(LIBRARIES)
	@$(PY) -c 'import site, pathlib, subprocess, sys; there = subprocess.check_output([sys.argv[1], "-c", \
		"import site; print(site.getsitepackages()[0])"], text=True).strip(); \
		pathlib.Path(there, "main.pth").write_text("import site; site.addsitedir(" + repr(site.getsitepackages()[0]) + ")\n")' \
		$(LIBRARIES)/bin/python
	$(LIBRARIES)/bin/python -m pip install --disable-pip-version-check --progress-bar off --no-deps -r requirements-libraries.lock
	@touch $@

lint: $(READY) ## ruff, the form of the code, and mypy
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

bench: $(READY) ## time one training step: of the GP flow, with Euler's penalty, of the VAE and of FFJORD; exact log-determinants
	$(PY) benchmarks/gp_step.py --out outputs/bench/gp_step.json
	$(PY) benchmarks/penalty.py --out outputs/bench/penalty.json
	$(PY) benchmarks/vae_step.py --out outputs/bench/vae_step.json
	$(PY) benchmarks/ffjord_step.py --out outputs/bench/ffjord_step.json
	$(PY) benchmarks/ridge_scaling.py --out outputs/bench/ridge_scaling.json
	$(PY) benchmarks/log_det.py --out outputs/bench/log_det.json
	$(PY) benchmarks/memory.py --out outputs/bench/memory.json

bench-libraries: $(LIBRARIES)/.ready ## fit a flow of each library on two data sets, from an installed wheel: density kept, round trip, costs, seconds
	rm -rf build outputs/wheel # what an earlier build left would be in the wheel
	@mkdir -p outputs/wheel/empty
	$(PY) -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation --wheel-dir outputs/wheel .
	$(LIBRARIES)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-index --force-reinstall outputs/wheel/*.whl
	cd outputs/wheel/empty && $(CURDIR)/$(LIBRARIES)/bin/python $(CURDIR)/benchmarks/libraries.py --out $(CURDIR)/outputs/bench/libraries.json

figures: $(READY) ## numbers and pictures of the pages about no item of the paper: bounds, costs, between, uses (half an hour)
	for page in bounds interpolation ranks paths costs between; do $(PY) -m scripts.figures.$$page || exit 1; done

bench-truth: $(READY) ## how close each family comes to known optima, in which time: UVP, cost, bounds; about an hour of one core
	$(PY) benchmarks/truth.py --out outputs/bench/truth.json
	$(PY) benchmarks/truth.py --out outputs/bench/truth.json --picture docs/truth.png

bench-truth-long: $(READY) ## the best family of each dimension for up to a quarter of an hour of one core each; two hours
	for row in "deep_ridge 2 120" "deep_ridge 4 400" "deep_ridge 8 600" "wide_series 16 900" "wide_deep_ridge 16 300" "wide_series 32 900" "wide_deep_ridge 32 900" "wide_series 64 900" "wide_series 128 900"; do \
		set -- $$row; $(PY) benchmarks/truth.py --out outputs/bench/truth_long.json --pairs 131072 --methods $$1 --dims $$2 --seconds $$3 || exit 1; done

faults: $(READY) ## kill, corrupt and race everything, fill the disk, mistype: what is lost, in outputs/faults (half an hour or more; again: it goes on)
	$(PY) -m benchmarks.faults --out outputs/faults/faults.json

faults-sample: $(READY) ## a part of that, in two minutes
	$(PY) -m benchmarks.faults --sample

report: $(READY) ## write tables, figures and the report page again from trained models in outputs/ and pretrained/; trains nothing
	@missing=; for item in $(ITEMS); do \
		$(PY) scripts/report.py experiment=$$item upstream=require $(OPTIONS) || missing="$$missing $$item"; done; \
	$(PY) scripts/page.py $(OPTIONS) || exit 1; \
	if [ -n "$$missing" ]; then echo "not written, as said above:$$missing" >&2; exit 1; fi

page: $(READY) ## build outputs/report/index.html from the tables and figures that are there
	$(PY) scripts/page.py $(OPTIONS)

sweep: $(READY) ## run a ready sweep: SWEEP=lambda|steps|size|pairs LAUNCHER=joblib|submitit_slurm|...; again: what is missing
	$(PY) scripts/evaluate.py -m sweep=$(SWEEP) launcher=$(LAUNCHER) $(OPTIONS)

sweep-summary: $(READY) ## tables (mean and spread over seeds) and plots of all sweeps, from what they left; runs nothing
	$(PY) scripts/sweep_summary.py

reproduce: ## every table and figure below, in order, the report page, and what was reproduced, how close, in how long
	@printf '%s\n' $(ORDERED) | $(ONE_THREAD) xargs -n 1 -P $(JOBS) sh -c \
		'$(MAKE) --no-print-directory -f $(SELF) JOBS=1 "$$0" || exit 255'
	$(PY) scripts/page.py $(OPTIONS)
	$(PY) scripts/summary.py $(OPTIONS)

reproduce-table1: $(READY) ## Table 1: disentanglement, completeness and informativeness on dSprites
	$(PY) scripts/report.py experiment=table1 $(ROWS) $(OPTIONS)

reproduce-fig1: $(READY) ## Figure 1: a GP map moves Gaussian particles, also as an animation
	$(PY) scripts/report.py experiment=fig1 $(ROWS) $(OPTIONS)

reproduce-fig2: $(READY) ## Figure 2: eight Gaussians, coloured by their place, under BNAF and BNAF+GP
	$(PY) scripts/report.py experiment=fig2 $(ROWS) $(OPTIONS)

reproduce-fig3: $(READY) ## Figure 3: eight Gaussians; CP-Flow, BNAF, BNAF+GP, and the exact optimum
	$(PY) scripts/report.py experiment=fig3 $(ROWS) $(OPTIONS)

reproduce-fig4: $(READY) ## Figure 4: two moons; GP, GP+Euler, GP+spectral, and their energies
	$(PY) scripts/report.py experiment=fig4 $(ROWS) $(OPTIONS)

reproduce-fig5: $(READY) ## Figure 5: images of dSprites along the axes of the VAE's, FFJORD's and FFJORD+GP's code space
	$(PY) scripts/report.py experiment=fig5 $(ROWS) $(OPTIONS)

reproduce-fig6: $(READY) ## Figure 6: the same with Euler's penalty
	$(PY) scripts/report.py experiment=fig6 $(ROWS) $(OPTIONS)

reproduce-fig7: $(READY) ## Figure 7: images of MNIST along the axes of the VAE's, FFJORD's and FFJORD+GP's code space
	$(PY) scripts/report.py experiment=fig7 $(ROWS) $(OPTIONS)

reproduce-fig8: $(READY) ## Figure 8: the same with Euler's penalty
	$(PY) scripts/report.py experiment=fig8 $(ROWS) $(OPTIONS)

# After the figures: it shares rows with Table 1, and beside it would wait for them.
reproduce-table2: $(READY) ## Table 2: costs and likelihoods on dSprites and MNIST
	$(PY) scripts/report.py experiment=table2 $(ROWS) $(OPTIONS)

reproduce-table3: $(READY) ## Table 3: how the GP flows on 2-D data are trained, as configured against as printed
	$(PY) scripts/report.py experiment=table3 $(ROWS) $(OPTIONS)

reproduce-table4: $(READY) ## Table 4: how the GP flows on latent codes are trained, as configured against as printed
	$(PY) scripts/report.py experiment=table4 $(ROWS) $(OPTIONS)

numbers: $(READY) ## write README.md and docs/ again: their numbers from outputs/, their words from docs/templates
	$(PY) scripts/documents.py

docs: $(SITE)/.ready ## build the site in outputs/site from docs/ and the docstrings, in an environment of its own
	NO_MKDOCS_2_WARNING=1 $(SITE)/bin/python -m mkdocs build --strict

$(SITE)/.ready: requirements-docs.lock
	$(PYTHON) -m venv --clear $(SITE)
	$(SITE)/bin/python -m pip install --disable-pip-version-check --progress-bar off -r requirements-docs.lock
	@touch $@

lock: ## solve requirements.lock anew from pyproject.toml (network; the pinned torch stays)
	$(PYTHON) -m venv $(ENV)-lock
	$(ENV)-lock/bin/python -m pip install --quiet --disable-pip-version-check uv
	@grep '^torch==' requirements.lock > $(ENV)-lock/keep.txt
	$(ENV)-lock/bin/uv pip compile --universal --python-version 3.10 --extra dev --constraint $(ENV)-lock/keep.txt \
		--no-annotate --no-header --quiet --upgrade --output-file $(ENV)-lock/solved.txt pyproject.toml
	{ sed -n '/^#/p' requirements.lock; grep -vE '^(nvidia-|cuda-|triton)' $(ENV)-lock/solved.txt; } > $(ENV)-lock/new.txt
	mv $(ENV)-lock/new.txt requirements.lock
	rm -rf $(ENV)-lock

clean: ## remove everything under outputs/, trained models included, but not the downloads in outputs/data
	@mkdir -p outputs
	find outputs -mindepth 1 -maxdepth 1 ! -name .gitkeep ! -name README.md ! -name data -exec rm -rf {} +

clean-env: ## remove .venv
	rm -rf $(ENV) $(ENV)-lock $(LIBRARIES)
