# `make help` lists everything. CI runs `make test` and nothing else.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CLUSTER ?= auto

export PYTHONDONTWRITEBYTECODE ?= 1

.PHONY: help
help: ## List the commands
	@grep -hE '^[a-z][a-z-]*:.*##' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  %-14s %s\n", $$1, $$2}'

# The environment ------------------------------------------------------------------------------------------------------

$(VENV)/.ready: requirements/bootstrap.txt requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed; set PYTHON=")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/bootstrap.txt
	$(BIN)/uv pip sync -q --require-hashes requirements/dev.txt
	$(BIN)/uv pip install -q --no-deps --no-build-isolation -e .
	touch $@

.PHONY: setup
setup: $(VENV)/.ready ## Make the virtual environment from the locked dependencies

.PHONY: lock
lock: setup ## Lock the dependencies anew, with hashes and without addresses
	$(BIN)/uv pip compile --upgrade $(LOCK) pyproject.toml -o requirements/operator.txt
	$(BIN)/uv pip compile --upgrade $(LOCK) pyproject.toml --extra cli --group dev -o requirements/dev.txt
	$(BIN)/uv pip compile --upgrade $(LOCK) requirements/sklearn.in -o requirements/sklearn.txt
LOCK := --universal --python-version 3.11 --generate-hashes --no-header --no-annotate -q

.PHONY: host
host: setup ## Install what a cluster on this machine needs (Debian packages), where no Docker engine answers
	$(BIN)/python -m tests.cluster prepare

.PHONY: control-plane
control-plane: setup # Kubernetes' programs, for the tests against a real API server
	$(BIN)/python -m localcluster install-deps
	$(BIN)/python -m localcluster build

# Generated files ------------------------------------------------------------------------------------------------------

.PHONY: generate
generate: setup ## Write the files that follow from the models: CRDs, chart, manifests, reference
	PATH="$$($(BIN)/python -m localcluster build):$$PATH" $(BIN)/python -m rondo.api.generate

.PHONY: verify
verify: setup ## Prove that no generated file is stale
	$(BIN)/python -m rondo.api.generate --check

# Checks ---------------------------------------------------------------------------------------------------------------

ROUTER := --locked --manifest-path=router/Cargo.toml
export CARGO_TARGET_DIR ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/rondo/router

.PHONY: lint
lint: setup ## Style, types and layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	cargo fmt --check --manifest-path=router/Cargo.toml
	touch router/build.rs router/proto/* router/src/*.rs  # checkouts share cargo's folder, and cargo goes by the times of files
	cargo clippy $(ROUTER) --all-targets

.PHONY: unit
unit: setup ## Unit tests: no cluster
	touch router/build.rs router/proto/* router/src/*.rs
	cargo test $(ROUTER)
	$(BIN)/pytest tests/unit -n 2 --cov --cov-report=term:skip-covered

.PHONY: integration
integration: setup control-plane ## Tests against a real API server
	$(BIN)/pytest tests/integration -n 2 --dist loadfile --ignore tests/integration/system
	$(BIN)/pytest tests/integration/system

.PHONY: localcluster
localcluster: setup control-plane ## Tests of the cluster that runs where no Docker engine answers
	$(BIN)/pytest tests/localcluster

.PHONY: e2e
e2e: setup host ## End-to-end tests: the operator from its image, pods on a real kubelet
	$(BIN)/pytest tests/e2e $$($(BIN)/python -m tests.cluster options --cluster $(CLUSTER))

.PHONY: test
test: lint verify unit integration localcluster e2e ## Everything that CI checks

.PHONY: bench
bench: setup control-plane ## Speed and memory, as tables
	$(BIN)/python -m tests.bench
	$(BIN)/python -m tests.bench.router

.PHONY: fuzz
fuzz: ## Hostile plans and mappings for the router, a minute each; needs cargo-fuzz and a nightly Rust
	cd router/fuzz && for target in plan mapping; do \
		mkdir -p corpus/$$target && \
		cargo +nightly fuzz run $$target corpus/$$target seeds/$$target -- -max_total_time=60 -rss_limit_mb=2048 || exit 1; \
	done

# For people -----------------------------------------------------------------------------------------------------------

.PHONY: images
images: setup ## Build the images
	images/build

.PHONY: demo
demo: setup host ## From nothing to a prediction of a model that was trained and deployed in pods
	$(BIN)/python -m demo up --cluster $(CLUSTER)

.PHONY: demo-down
demo-down: setup ## Remove all that `make demo` made
	$(BIN)/python -m demo down --cluster $(CLUSTER)

.PHONY: clean
clean: ## Remove the virtual environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage
