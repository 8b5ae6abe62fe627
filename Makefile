# make demo | test | check | slow | bench. Each installs what it needs into .venv first.
SHELL := /bin/bash
.DEFAULT_GOAL := help
# uv from the PATH if it runs (a pyenv shim may not), else one of our own that pip fetches into .uv.
UV := $(shell uv --version >/dev/null 2>&1 && command -v uv || echo .uv/bin/uv)
BIN := .venv/bin
INSTALL := --quiet --editable '.[excel,export,mcp,ray]' --group dev
# A worker per core, each with one thread; a file stays with its worker, and the longest come first (tests/conftest.py).
# What quick tests write is kept in memory where there is room, and as long as it is needed.
WORKERS := --numprocesses auto --dist loadfile --no-loadscope-reorder -o tmp_path_retention_policy=failed
PARALLEL := $(WORKERS) --in-memory
# Of the two versions of Prefect that were seen to work, the one that constraints.txt does not have.
OTHER_PREFECT := 3.8.8
# Where a machine sets it, each of the tests' hundreds of processes would compile every library anew.
unexport PYTHONDONTWRITEBYTECODE

help:
	@echo "make demo         install and run the main job on a generated cohort (under 3 minutes)"
	@echo "make test         install and run the tests"
	@echo "make check        ruff, pyright, import-linter"
	@echo "make bench        benchmarks: one table each, ratios against a baseline in the same run"
	@echo "make gpu          what a GPU is asked once: correctness, rates against the card's ceilings; under 480 s"
	@echo "make explore-bundle  the page of guidestore explore anew, from npm packages (needs Node 20 or newer)"
	@echo "make slow         long experiments, a full install, and the browser tests with the other Prefect"
	@echo "make latest       the tests with the newest versions that pyproject.toml allows, in .venv-latest"
	@echo "make constraints  constraints.txt anew, from the newest versions; make test then says whether they work"
	@echo "make docs         the site of docs/, into build/site"
	@echo "make durations    the tests, and how long each file of them took, into tests/durations.json"

.uv/bin/uv:
	python3 -m venv .uv && .uv/bin/pip install --quiet uv

.venv/installed: pyproject.toml constraints.txt | $(UV)
	$(UV) venv --quiet --allow-existing .venv
	$(UV) pip install --python .venv --constraints constraints.txt --build-constraints constraints.txt $(INSTALL)
	touch $@

install: .venv/installed

demo: install
	$(BIN)/guidestore demo

test: install
	OMP_NUM_THREADS=1 $(BIN)/pytest $(PARALLEL)

durations: install
	OMP_NUM_THREADS=1 $(BIN)/pytest $(PARALLEL) --record-durations

check: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/lint-imports

bench: install
	@for script in tests/benchmarks/[a-z]*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

docs: .venv-docs/installed
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/python -m mkdocs build

# What makes the site; all else is taken from .venv.
.venv-docs/installed: .venv/installed
	$(UV) venv --quiet --allow-existing .venv-docs
	$(UV) pip install --quiet --python .venv-docs --group docs
	own=$$(.venv-docs/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))') && \
		$(BIN)/python -c 'import sysconfig; print("import site; site.addsitedir(%r)" % sysconfig.get_path("purelib"))' \
		> $$own/zz-all-else.pth
	touch $@

gpu: install
	$(BIN)/python -m tests.gpu

slow: install .venv-other-prefect/installed
	OMP_NUM_THREADS=1 $(BIN)/pytest -m slow $(WORKERS)
	@echo "== the browser tests with Prefect $(OTHER_PREFECT)"
	.venv-other-prefect/bin/python -m pytest -m prefect_pages

# Prefect and what it needs, in the versions of constraints.txt where it bears them; all else is taken from .venv.
.venv-other-prefect/installed: .venv/installed
	$(UV) venv --quiet --allow-existing .venv-other-prefect
	cp constraints.txt .venv-other-prefect/versions.txt
	echo prefect==$(OTHER_PREFECT) | $(UV) pip compile --quiet --universal --python-version 3.12 --no-emit-index-url \
		--no-annotate - --output-file .venv-other-prefect/versions.txt
	$(UV) pip install --quiet --python .venv-other-prefect --requirements .venv-other-prefect/versions.txt
	own=$$(.venv-other-prefect/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))') && \
		$(BIN)/python -c 'import sysconfig; print("import site; site.addsitedir(%r)" % sysconfig.get_path("purelib"))' \
		> $$own/zz-all-else.pth
	touch $@

explore-bundle:
	cd flows/explore/page && npm ci && npm run --silent bundle

latest: | $(UV)
	$(UV) venv --quiet --allow-existing .venv-latest
	$(UV) pip install --python .venv-latest --upgrade $(INSTALL)
	OMP_NUM_THREADS=1 .venv-latest/bin/pytest $(PARALLEL)

constraints: | $(UV)
	{ echo "# The versions that the tests ran with, on Python 3.12 and x86-64 Linux; those for Python 3.13, aarch64 and other"; \
	  echo "# systems are resolved, not run. Made by \`make constraints\`, used by \`make install\`."; \
	  $(UV) pip compile --quiet --universal --python-version 3.12 pyproject.toml --extra excel --extra export --extra mcp --extra ray --group dev \
	    --no-emit-index-url --no-annotate --no-header; } > constraints.new
	mv constraints.new constraints.txt

.PHONY: help install demo test durations check bench docs gpu slow explore-bundle latest constraints
