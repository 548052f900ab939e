# The words of this project. `make demo` and `make test` are the two to start with.
PYTHON ?= python3.11
BIN := .venv/bin
BUILD := build

# Threads that wait busily make a shared machine twenty times slower.
export OMP_WAIT_POLICY ?= PASSIVE
# What is installed is compiled when it is first imported, and never again.
unexport PYTHONDONTWRITEBYTECODE

# docker where its daemon answers, else podman and buildah. BUILD_ARGS is for arguments of
# the Dockerfiles, e.g. BUILD_ARGS="--build-arg TORCH=torch==2.13.0+cpu".
ENGINE ?= $(shell docker info >/dev/null 2>&1 && echo docker || echo podman)
BUILD_IMAGE = $(if $(filter docker,$(ENGINE)),docker build,buildah bud --layers --force-rm)
BUILD_ARGS ?=
export TRAIN_IMAGE ?= localhost/lstm-ad-train
export INFER_IMAGE ?= localhost/lstm-ad-infer

# Everything that is installed stands in a lock, so nothing needs to be resolved: several
# pips install it side by side, and Python compiles what is imported. torch comes last
# again, with what its CUDA build needs; its CPU build needs no more.
PIP = pip install --quiet --disable-pip-version-check --no-compile
define install
	test -x $(1)/bin/pip || $(PYTHON) -m venv $(1)
	grep -v '^#' locks/$(2).txt | xargs -n 20 -P 2 $(1)/bin/$(PIP) --no-deps
	grep '^torch==' locks/$(2).txt | xargs -r $(1)/bin/$(PIP) --constraint locks/$(2).txt
	touch $(3)
endef

SIDE_BY_SIDE = -n auto --maxprocesses 4 --dist worksteal

.PHONY: setup locks demo data notebook test test-avx2 check format fuzz benchmark benchmark-memory benchmark-models benchmark-asynchronous benchmark-threshold benchmark-accuracy soak documents images image-sizes test-images test-hosts sdk test-sdk sbom audit clean

setup: .venv/.dev

.venv/.demo: locks/demo.txt
	$(call install,.venv,demo,$@)

# On top of what the demonstration needs, in the same versions.
.venv/.dev: locks/dev.txt | .venv/.demo
	$(call install,.venv,dev,$@)

# Run it when a requirement changes, or to get what its packages need in newer versions.
locks: setup
	$(BIN)/python scripts/lock.py

test: setup check
	$(BIN)/pytest $(SIDE_BY_SIDE)

# The tests that depend on the processor, on one without AVX-512.
test-avx2: setup
	ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2 $(BIN)/pytest $(SIDE_BY_SIDE) \
	  tests/unit/model tests/unit/training tests/unit/test_fitting.py \
	  tests/contract/test_training_job.py tests/contract/test_round_trip.py

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	PYTHONPATH=src $(BIN)/lint-imports --no-cache

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

demo: .venv/.demo
	$(BIN)/python scripts/demo.py $(BUILD)/demo

# Run it when training or the data change: the samples are the product's own answer.
data: setup
	$(BIN)/python scripts/make_data.py data
	$(BIN)/python scripts/demo.py $(BUILD)/data --write-samples

# From top to bottom, with its outputs stored: run it when its code or the product changes.
notebook: setup
	$(BIN)/python scripts/run_notebook.py notebook.ipynb

# Not part of `make test`: they take minutes.
fuzz: setup
	PYTHONPATH=src $(BIN)/python scripts/fuzz_formats.py

ACCURACY := $(BUILD)/accuracy-packages

$(ACCURACY): requirements-accuracy.txt | setup
	$(BIN)/pip install --quiet --no-deps --target $@ -r $<

# SERIES is a folder of labelled series with an index.csv; hours on two cores.
benchmark-accuracy: $(ACCURACY)
	PYTHONPATH=$(ACCURACY) $(BIN)/python benchmarks/accuracy.py $(SERIES) $(OPTIONS)
	$(BIN)/python benchmarks/training.py $(SERIES)

benchmark: setup
	$(BIN)/python benchmarks/serving.py
	$(BIN)/python benchmarks/distributed.py
	$(BIN)/python benchmarks/examination.py
	$(BIN)/python benchmarks/memory.py

# The rate of alarms and the coverage of the threshold's interval: about a minute.
benchmark-threshold: setup
	PYTHONPATH=src $(BIN)/python benchmarks/threshold.py

benchmark-memory: setup
	$(BIN)/python benchmarks/memory.py

# A thousand models on one endpoint for ten minutes, and a body of 1 GB.
benchmark-models: setup
	$(BIN)/python benchmarks/models.py

benchmark-asynchronous: setup
	$(BIN)/python benchmarks/asynchronous.py

# A steady load while the server is hurt in turn: ten minutes of one model, ten of three.
soak: setup
	$(BIN)/python benchmarks/soak.py
	$(BIN)/python benchmarks/soak.py --models 3

images:
	$(BUILD_IMAGE) $(BUILD_ARGS) --file Dockerfile.train --tag $(TRAIN_IMAGE) .
	$(BUILD_IMAGE) $(BUILD_ARGS) --file Dockerfile.infer --tag $(INFER_IMAGE) .

# Unpacked, as disks hold them, and compressed, about as registries send them.
image-sizes:
	@for image in $(TRAIN_IMAGE) $(INFER_IMAGE); do \
	  unpacked=$$($(ENGINE) image inspect --format '{{.Size}}' $$image) || exit 1; \
	  packed=$$($(ENGINE) save $$image | gzip -1 | wc -c); \
	  echo "$$image: $$((unpacked / 1000000)) MB, compressed $$((packed / 1000000)) MB"; \
	done

test-images: setup
	IMAGE_TESTS=$(ENGINE) $(BIN)/pytest -m images

# Two hosts, in network namespaces; needs root and iproute2.
test-hosts: setup
	HOST_TESTS=1 $(BIN)/pytest -n 2 -m hosts tests/hosts

# SageMaker's own SDK, in an environment of its own: it would hold back other packages.
sdk: .venv-sdk/.complete

.venv-sdk/.complete: locks/sdk.txt
	$(call install,.venv-sdk,sdk,$@)

# The SDK's local mode runs the images itself and needs a Docker daemon.
test-sdk: setup sdk
	SDK_TESTS=1 $(BIN)/pytest tests/contract/test_on_sagemaker.py
	SDK_TESTS=1 .venv-sdk/bin/pytest -m sdk --confcutdir=tests/sdk \
	  --override-ini=filterwarnings=default tests/sdk

.venv-sbom/.complete: locks/sbom.txt
	$(call install,.venv-sbom,sbom,$@)

# The packages of both images, in CycloneDX: written again when a lock changes.
sbom: .venv-sbom/.complete
	for image in train infer; do \
	  .venv-sbom/bin/cyclonedx-py requirements locks/$$image.txt --output-reproducible \
	    --short-PURLs --output-file docs/sbom/lstm-ad-$$image.cdx.json || exit 1; \
	done
	$(PYTHON) scripts/strip_references.py docs/sbom/*.json

# Asks PyPI for known vulnerabilities of what is locked; needs the network.
audit: .venv-sbom/.complete
	.venv-sbom/bin/python scripts/audit.py locks/train.txt locks/infer.txt

# Written again when a hyperparameter, a channel or a metric changes.
documents: setup
	PYTHONPATH=src $(BIN)/python scripts/make_documents.py docs/sagemaker

clean:
	rm -rf $(BUILD) .mypy_cache .pytest_cache .ruff_cache .hypothesis
