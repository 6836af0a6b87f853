# Thin on purpose: each target sets up what it needs in .venv and runs one command.
PYTHON ?= python3
BIN := .venv/bin
export PATH := $(PATH):/usr/sbin:/sbin
.PHONY: demo kind-demo test test-kind node-image docker check bench clean setup packages

demo: setup
	$(BIN)/graymesh run founding --prove --seed 1

kind-demo: setup docker
	$(BIN)/graymesh run founding --cluster kind --prove --seed 1

test: setup
	$(BIN)/pytest -m "not kind"

test-kind: setup docker
	$(BIN)/pytest -m kind tests/kind

node-image: setup docker
	$(BIN)/graymesh node-image build

docker:
	@.setup/docker

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup
	@.setup/system fping dnsperf
	$(BIN)/python -m tests.benchmarks

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage

setup: packages .venv/.ready

packages:
	@PYTHON=$(PYTHON) .setup/system iproute2 iptables python3-venv

.venv/.ready: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-build-isolation --no-deps -e .
	@touch $@
