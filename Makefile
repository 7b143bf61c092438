# make demo   the main job on the example checkpoints
# make test   everything that has to hold before a change goes in
# make clean  remove what these made

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DEMO_LOG ?= runs/demo
DIGITS := checkpoints_examples/digits_mlp
# The tests run as many processes as there are cores, so each gets one thread.
ONE_THREAD := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1

.PHONY: demo test check pytest format clean help

help:
	@sed -n 's/^# make/make/p' Makefile

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed, this is " + sys.version.split()[0] + ": make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.installed: $(VENV)/.made pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
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

test: check pytest

check: $(VENV)/.installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright
	$(BIN)/lint-imports

pytest: $(VENV)/.installed-dev
	$(ONE_THREAD) $(BIN)/python -m pytest --numprocesses auto

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean:
	rm -rf $(VENV) runs/demo dist build .pytest_cache .ruff_cache .import_linter_cache
