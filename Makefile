# make demo | test | check | slow | bench. Each installs what it needs into .venv first.
SHELL := /bin/bash
.DEFAULT_GOAL := help
# uv from the PATH if it runs (a pyenv shim may not), else one of our own that pip fetches into .uv.
UV := $(shell uv --version >/dev/null 2>&1 && command -v uv || echo .uv/bin/uv)
BIN := .venv/bin
# Where a machine sets it, each of the tests' hundreds of processes would compile every library anew.
unexport PYTHONDONTWRITEBYTECODE

help:
	@echo "make demo    install and run the main job on a generated cohort (under 3 minutes)"
	@echo "make test    install and run the tests"
	@echo "make check   ruff, pyright, import-linter"
	@echo "make bench   benchmarks: one table each, ratios against a baseline in the same run"
	@echo "make slow    long experiments"

.uv/bin/uv:
	python3 -m venv .uv && .uv/bin/pip install --quiet uv

.venv/installed: pyproject.toml | $(UV)
	$(UV) venv --quiet --allow-existing .venv
	$(UV) pip install --quiet --python .venv --editable . --group dev
	touch $@

install: .venv/installed

demo: install
	$(BIN)/guidestore demo

# A worker per core, each with one thread; a file stays with its worker, and the longest come first (tests/conftest.py).
test: install
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

check: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/lint-imports

bench: install
	@for script in tests/benchmarks/[a-z]*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

slow: install
	$(BIN)/pytest -m slow

.PHONY: help install demo test check bench slow
