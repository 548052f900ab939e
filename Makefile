# The words of this project. `make demo` and `make test` are the two to start with.
PYTHON ?= python3.11
BIN := .venv/bin
BUILD := build

# Threads that wait busily make a shared machine twenty times slower.
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: setup demo test check format clean

setup: .venv/.complete

.venv/.complete: $(wildcard requirements*.txt)
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@

test: setup check
	$(BIN)/pytest

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

demo: setup
	$(BIN)/python scripts/demo.py $(BUILD)/demo

clean:
	rm -rf $(BUILD) .mypy_cache .pytest_cache .ruff_cache .hypothesis
