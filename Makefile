# Everything runs from .venv, which the first call makes and later calls reuse.
VENV := .venv
RUN := $(VENV)/bin/python
STAMP := $(VENV)/.installed
CONFIG ?= experiments/tetris_direct.py
WORKDIR ?=
ARGS ?=
PYTEST_ARGS ?=
# Two tests at a time: most of their time is compilation, which takes one core each.
WORKERS ?= 2

# A Python counts when it runs, is 3.11 to 3.13 and can make virtual environments. Choose one by `make PYTHON=...`.
PROBE := import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	"$$p" -c "$(PROBE)" >/dev/null 2>&1 && echo "$$p" && break; done)

.DEFAULT_GOAL := help
.PHONY: help install lock train test test-slow lint format typecheck check smoke evaluate dream docs package door \
	benchmark compare difftest mutants chaos clean distclean

help:  ## what each target does
	@grep -hE '^[a-z-]+:.*##' Makefile | sed -E 's/:[^#]*##/\t/' | expand -t 12

install: $(STAMP)  ## make .venv with the pinned packages and this package

$(STAMP): requirements.lock pyproject.toml
	@if [ -z "$(PYTHON)" ] || ! "$(PYTHON)" -c "$(PROBE)" 2>/dev/null; then \
		echo "make: DreamJAX needs Python 3.11, 3.12 or 3.13 with the venv module (got '$(PYTHON)')." \
			"Install one, or name it: make PYTHON=/path/to/python3.12" >&2; exit 2; fi
	@$(RUN) -m pip --version >/dev/null 2>&1 || "$(PYTHON)" -m venv --clear $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(RUN) -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@

lock:  ## resolve pyproject.toml anew into requirements.lock
	uv pip compile --universal --python-version 3.11 --extra dev --no-header --no-annotate --upgrade \
		--output-file build/requirements.lock pyproject.toml
	{ sed -n '/^#/p' requirements.lock; cat build/requirements.lock; } > build/lock && mv build/lock requirements.lock

train: install  ## train Dreamer on Tetris (CONFIG=..., ARGS="--workdir=DIR --config.FIELD=VALUE")
	$(RUN) -m experiments.train --config=$(CONFIG) $(if $(WORKDIR),--workdir=$(WORKDIR)) $(ARGS)

test: install  ## the tests that CI runs
	$(RUN) -m pytest -n $(WORKERS) --dist worksteal --durations=15 $(PYTEST_ARGS)

test-slow: install  ## the tests that take minutes
	$(RUN) -m pytest -m slow --timeout=3600 $(PYTEST_ARGS)

lint: install  ## ruff: rules and format
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

format: install  ## ruff: fix and format
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

typecheck: install  ## mypy
	$(RUN) -m mypy

check: lint typecheck test  ## lint, types, tests

smoke: install  ## every phase of training, small, in a fresh build/smoke
	rm -rf build/smoke
	$(RUN) -m experiments.train --config=$(CONFIG):smoke --workdir=build/smoke $(ARGS)

evaluate: install  ## play a trained agent (WORKDIR=..., ARGS="--episodes=100")
	$(RUN) -m experiments.evaluate $(if $(WORKDIR),--workdir=$(WORKDIR)) $(ARGS)

dream: install  ## real boards beside dreamed boards (WORKDIR=...)
	$(RUN) -m experiments.dream $(if $(WORKDIR),--workdir=$(WORKDIR)) $(ARGS)

docs: install  ## the documentation site in build/docs
	@$(RUN) -c "import furo, jupytext, myst_parser, sphinx" 2>/dev/null || \
		$(RUN) -m pip install --quiet --disable-pip-version-check -e '.[docs]'
	$(RUN) -m sphinx -W --keep-going -q -b html docs build/docs

package:  ## source and wheel in dist/, checked
	"$(PYTHON)" -m venv build/tools
	build/tools/bin/python -m pip install --quiet --disable-pip-version-check build twine
	rm -rf dist
	build/tools/bin/python -m build --outdir dist .
	build/tools/bin/python -m twine check --strict dist/*

door: package  ## the README's commands in a fresh environment that has only the wheel
	"$(PYTHON)" -m tests.door --wheel=$$(ls dist/*.whl)

benchmark: install  ## speed of updates, environments and replay
	$(RUN) -m experiments.benchmark $(ARGS)

compare: install  ## sample efficiency against model-free agents (needs the extra `baselines`)
	$(RUN) -m experiments.compare $(ARGS)

difftest: install  ## the rules of Tetris against a reference, a million steps
	$(RUN) -m experiments.difftest --steps=1000000 $(ARGS)

mutants: install  ## break the code on purpose; a test must fail each time
	$(RUN) -m tests.mutants $(ARGS)

chaos: install  ## kill runs at random moments; every resumed run must end alike
	$(RUN) -m tests.chaos $(ARGS)

clean:  ## remove what tools wrote; runs and .venv stay
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis .jax_cache
	find dreamjax experiments tests -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean  ## clean, and remove .venv
	rm -rf $(VENV)
