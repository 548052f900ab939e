# The words of this project. `make demo` and `make test` are the two to start with.
PYTHON ?= python3.11
BIN := .venv/bin
BUILD := build

# Threads that wait busily make a shared machine twenty times slower.
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: setup demo data test check format fuzz benchmark-memory clean

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

# Run it when training or the data change: the samples are the product's own answer.
data: setup
	$(BIN)/python scripts/make_data.py data
	$(BIN)/python scripts/demo.py $(BUILD)/data --write-samples

# Not part of `make test`: they take minutes.
fuzz: setup
	PYTHONPATH=src $(BIN)/python scripts/fuzz_csv.py

benchmark-memory: setup
	$(BIN)/python benchmarks/memory.py

clean:
	rm -rf $(BUILD) .mypy_cache .pytest_cache .ruff_cache .hypothesis
