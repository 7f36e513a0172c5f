# Everything runs in .venv, made here: no target depends on what a person installed by hand.
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
export TF_CPP_MIN_LOG_LEVEL ?= 3
export PYTHONUNBUFFERED ?= 1
# A worker a core; tests/conftest.py gives each its share of TensorFlow's threads.
TEST_WORKERS ?= logical
# COVERAGE=1 counts lines as well, in every process; it slows each line of Python. CPython 3.11 refuses
# a trace to a thread that begins while another one does, which ends that thread and is no test's fault.
TRACED := -W 'ignore:Exception ignored in thread started by:pytest.PytestUnraisableExceptionWarning'
PYTEST := $(BIN)/$(if $(COVERAGE),coverage run,python) -m pytest -n $(TEST_WORKERS) --dist worksteal \
    $(if $(COVERAGE),$(TRACED))
FAST := not slow and not full and not gpu and not network and not docker
SLOW := slow and not full and not gpu and not network and not docker

.PHONY: help venv venv-dev demo check test test-slow test-gpu test-full coverage coverage-report compose-test bench docs docs-record \
    lock audit wire clean tfx-test tfserving-test

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

venv: .venv/.installed  ## create .venv with the locked packages; does nothing when the lock has not changed

venv-dev: .venv/.installed-dev

# Every file's hash is in a lock. pip takes no editable package under hashes, so ours comes after,
# built by what the lock has installed.
EDITABLE := --no-deps --no-build-isolation --editable .

.venv/.installed: requirements.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --require-hashes --requirement requirements.lock
	$(BIN)/pip install --quiet $(EDITABLE)
	touch $@

.venv/.installed-dev: requirements-dev.lock .venv/.installed
	$(BIN)/pip install --quiet --require-hashes --requirement requirements-dev.lock
	touch $@

demo: venv  ## ingest, train, publish and serve real handwritten digits, then predict over gRPC
	$(BIN)/convoy demo configs/digits.toml

check: venv-dev  ## lint, format, types and import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest -q tests/test_layering.py

test: venv-dev  ## what every change is held against, under 6 minutes on two cores
	$(PYTEST) -m '$(FAST)'

test-slow: venv-dev  ## crash, load and multi-process tests, under 20 minutes
	$(PYTEST) -m '$(SLOW)'

test-gpu: venv-dev  ## steps, precisions and export on a GPU, for whoever has one
	$(BIN)/pytest -m gpu -s tests/trainer/test_gpu.py

test-full: venv-dev  ## everything: whole-zoo sweeps, containers, the simulated year
	$(BIN)/pytest -m 'not gpu and not network'

coverage:  ## both tiers with every line counted, then the share that was run
	rm -rf build/coverage
	$(MAKE) COVERAGE=1 test test-slow
	$(MAKE) coverage-report

coverage-report: venv-dev  ## the share of lines that tests with COVERAGE=1 have run, and its floor
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

compose-test: venv-dev  ## the images and docker-compose on a real engine; DOCKER_HOST names yours
	if test -z "$$DOCKER_HOST" && test "$$(id -u)" = 0 && command -v apt-get >/dev/null; then \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
	    --no-install-recommends docker.io docker-compose debootstrap iptables >/dev/null; fi
	$(BIN)/pytest -m docker tests/deploy

tfx-test: venv-dev  ## a job as a TFX pipeline, in a Debian 13 made for it; needs root
	if test "$$(id -u)" = 0 && command -v apt-get >/dev/null; then apt-get update -qq && \
	    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq debootstrap >/dev/null; fi
	$(BIN)/pytest -m full tests/tfx

# BINARY: a program; IMAGE: an image for docker-compose.yml; ADDRESS: a server that runs, HOST:PORT,
# with STORE, the store that it reads, and REST, its REST address.
tfserving-test: venv-dev  ## the store and the clients on TensorFlow Serving: BINARY=, IMAGE= or ADDRESS=
	TFSERVING_BINARY="$(BINARY)" TFSERVING_IMAGE="$(IMAGE)" TFSERVING_ADDRESS="$(ADDRESS)" \
	    TFSERVING_STORE="$(STORE)" TFSERVING_REST="$(REST)" \
	    $(BIN)/pytest tests/serving/test_production.py tests/serving/test_start_and_reload.py \
	    tests/serving/test_core_cases.py

bench: venv-dev  ## every benchmark, one table each
	set -e; for claim in benchmarks/*.py; do echo "== $$claim"; $(BIN)/python $$claim; done

docs: venv-dev  ## the guide as pages in build/docs, which open from the disk
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

docs-record: venv-dev  ## run the commands of PAGES and write what they print into them
	$(BIN)/python -m tests.docs.record $(PAGES)

LOCK := $(BIN)/uv pip compile --quiet --universal --no-emit-index-url --no-annotate --no-header
HASHED := $(LOCK) --generate-hashes --python-version 3.11

lock: venv-dev  ## resolve the locks anew from pyproject.toml, with the hashes of all files
	$(HASHED) pyproject.toml --extra dev --extra docs --output-file requirements-dev.lock
	$(HASHED) pyproject.toml --constraint requirements-dev.lock --output-file requirements.lock
	$(HASHED) deploy/images/client.txt --constraint requirements.lock \
	    --output-file deploy/images/client.lock
	$(HASHED) deploy/images/server.txt --constraint requirements.lock \
	    --override deploy/images/server-overrides.txt --output-file deploy/images/server.lock
	$(LOCK) pyproject.toml --extra tfx --python-version 3.13 --output-file requirements-tfx.lock

audit: venv  ## hold the packages against bandit, the locks against known advisories; needs the network
	$(PYTHON) -m venv build/audit
	build/audit/bin/pip install --quiet pip-audit 'bandit[toml]'
	build/audit/bin/bandit --quiet --configfile pyproject.toml --recursive \
	    pipeline trainer tuning serving jobs
	for lock in requirements.lock requirements-dev.lock deploy/images/server.lock; do \
	    build/audit/bin/pip-audit --require-hashes --disable-pip --requirement $$lock || exit 1; done

wire:  ## regenerate serving/wire by the oldest protobuf generation that a client may have
	$(PYTHON) -m venv build/wire
	build/wire/bin/pip install --quiet grpcio-tools==1.76.0
	build/wire/bin/python -m grpc_tools.protoc -I. --python_out=. --pyi_out=. serving/wire/*.proto

clean:  ## remove what builds and tests leave; keeps data, runs and models
	rm -rf build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache
