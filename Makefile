# make demo   the main job on the example checkpoints
# make test   everything that has to hold before a change goes in
# make test-all  also what takes minutes: the long fuzz of each reader, jobs on a device of its own memory, the gallery
# make bench  the engine against a user's own loop, in a script of theirs and in the command's process (docs/benchmarks.md)
# make bench-inspect  what `inspect` of a checkpoint of 1 GB takes
# make bench-memory  the peak memory of streaming a model of 500M parameters, about half an hour
# make bench-pca  the peak memory of pca2d over 100 checkpoints of 50M parameters, which take 20 GB of disk
# make bench-peers  the engine against loss-landscapes, which it installs in an environment of its own
# make bench-page  how quick the page is, in a headless Chromium over a TensorBoard on this machine
# make page   the page's development server, beside a running TensorBoard (TENSORBOARD=http://localhost:6006)
# make docs   the pages of docs/ as a site in build/docs, its pages of commands made anew
# make dist   wheel and source distribution in dist/, checked as the package index does
# make format fix and format the Python code
# make clean  remove what these made

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PEERS := .venv-peers
PEER := loss-landscapes==3.0.6
PACKAGES := 'import sysconfig; print(sysconfig.get_path("purelib"))'
# What is imported is compiled then, which most of what is installed never is.
INSTALL := python -m pip install --quiet --no-compile
# Where an environment has it, as images of containers do, each process would compile anew all that it imports.
unexport PYTHONDONTWRITEBYTECODE
DEMO_LOG ?= runs/demo
TENSORBOARD ?= http://localhost:6006
CHROMIUM ?= /usr/bin/chromium
DIGITS := checkpoints_examples/digits_mlp
# The tests run as many processes as there are cores, so each gets one thread.
ONE_THREAD := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1
# Each process has a part of the tests in their order, so that few make the same fixture, and one that is done takes from
# what others have left.
PROCESSES := --numprocesses auto --dist worksteal

.PHONY: demo dist docs bench bench-inspect bench-memory bench-page bench-pca bench-peers test test-all check page-check pytest page browser format clean help

help:
	@sed -n 's/^# make/make/p' Makefile

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed, this is " + sys.version.split()[0] + ": make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	@touch $@

$(VENV)/.installed: $(VENV)/.made pyproject.toml constraints.txt
	$(BIN)/$(INSTALL) --constraint constraints.txt --editable .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/$(INSTALL) --constraint constraints.txt --editable '.[dev]'
# A dependency of curvlinops' asks for torchvision, which nothing here uses. Beside a CPU build of torch the one from PyPI
# does not import, and then neither do the models of transformers and Lightning, which try it where it is installed.
	@$(BIN)/python -c 'import torchvision' 2> /dev/null || $(BIN)/python -m pip uninstall --quiet --yes torchvision
	@touch $@

demo: $(VENV)/.installed
	$(BIN)/loss-slicer run --method random2d --module $(DIGITS)/subject.py --logdir $(DEMO_LOG) \
		--checkpoints $(DIGITS)/sgd/checkpoints --checkpoints $(DIGITS)/adam/checkpoints --checkpoints $(DIGITS)/adamw/checkpoints
	$(BIN)/loss-slicer run --method linear --to last --module $(DIGITS)/subject.py --logdir $(DEMO_LOG) \
		--checkpoints $(DIGITS)/sgd/checkpoints --checkpoints $(DIGITS)/adam/checkpoints --checkpoints $(DIGITS)/adamw/checkpoints
	@echo
	@echo "The log is in $(DEMO_LOG). To look at it, run"
	@echo "    $(BIN)/loss-slicer view $(DEMO_LOG)"
	@echo "and open the address that it prints, tab Loss Slicer."

bench: $(VENV)/.installed-dev
	$(BIN)/python tests/benchmarks/engine.py
	$(BIN)/python tests/benchmarks/scaling.py --tuned

# Beside the peer, the environment has what the main one has: torch is neither fetched twice nor another version.
$(PEERS)/.installed: $(VENV)/.installed
	$(BIN)/python -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --no-deps $(PEER)
	printf 'import site; site.addsitedir("%s")\n' "$$($(BIN)/python -c $(PACKAGES))" > "$$($(PEERS)/bin/python -c $(PACKAGES))/main.pth"
	@touch $@

bench-peers: $(PEERS)/.installed
	$(PEERS)/bin/python tests/benchmarks/peers.py
	$(PEERS)/bin/python tests/benchmarks/peers.py --tuned

bench-inspect: $(VENV)/.installed-dev
	$(BIN)/python tests/benchmarks/inspection.py

bench-memory: $(VENV)/.installed-dev
	$(BIN)/python tests/benchmarks/memory.py

bench-pca: $(VENV)/.installed-dev
	$(BIN)/python tests/benchmarks/pca.py

bench-page: $(VENV)/.installed-dev browser
	$(BIN)/python hatch_build.py
	$(BIN)/python tests/benchmarks/page.py

# What is before the tests takes one core a target, and much of it waits for what it fetches. Each target's lines come
# together where make can do that; the one of macOS can't.
WHOLE := $(if $(filter output-sync,$(.FEATURES)),--output-sync=target)

test:
	@$(MAKE) --no-print-directory --jobs=2 $(WHOLE) browser check page-check
	@$(MAKE) --no-print-directory pytest

check: $(VENV)/.installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright
	$(BIN)/lint-imports

# Builds the page if its sources have changed, which also installs what its checks need.
page-check: $(VENV)/.installed-dev
	$(BIN)/python hatch_build.py
	@test -d frontend/node_modules || (cd frontend && npm ci --ignore-scripts --no-audit --no-fund)
	cd frontend && npm run check

page: $(VENV)/.installed-dev
	@test -d frontend/node_modules || (cd frontend && npm ci --ignore-scripts --no-audit --no-fund)
	cd frontend && LOSS_SLICER_TENSORBOARD=$(TENSORBOARD) npm run dev

# The page's tests drive a Chromium. Installed where that is allowed; what is run is printed first.
browser:
	@if [ -n "$$SKIP_BROWSER" ] && [ -z "$$CI" ]; then echo "SKIP_BROWSER is set: the page's tests in a browser will be skipped"; \
	elif command -v "$(CHROMIUM)" > /dev/null; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null; then \
		echo "apt-get update && apt-get install --yes chromium"; \
		apt-get update --quiet --quiet && DEBIAN_FRONTEND=noninteractive apt-get install --quiet --quiet --yes chromium > /dev/null; \
	else echo "The page's tests need Chromium at $(CHROMIUM): install it, or give CHROMIUM=PATH, or SKIP_BROWSER=1"; exit 1; fi

pytest: $(VENV)/.installed-dev
	$(ONE_THREAD) CHROMIUM=$(CHROMIUM) $(BIN)/python -m pytest $(PROCESSES)

test-all: check page-check browser
	$(ONE_THREAD) CHROMIUM=$(CHROMIUM) $(BIN)/python -m pytest $(PROCESSES) -m "long or not long"

docs: $(VENV)/.installed-dev
	$(BIN)/python docs/generate_commands.py
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet -b html docs build/docs
	@echo "The pages are in build/docs/index.html"

dist: $(VENV)/.installed-dev
	$(BIN)/python -m build --no-isolation
	$(BIN)/python -m twine check --strict dist/*

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean:
	rm -rf $(VENV) $(PEERS) frontend/node_modules tb_plugin/tensorboard_loss_slicer/static tb_plugin/tensorboard_loss_slicer/static_report runs/demo dist build .pytest_cache .ruff_cache .import_linter_cache
