# Needs Python 3.11 or newer and make. Everything is installed into .venv in this folder.
PYTHON ?= python3
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest -q
EXTRAS_UP := local,service,ingest,bench
# The tokenizer's vocabulary that upstream LightRAG would fetch: two files in this wheel, none of its dependencies.
VOCABULARY := llama-index-core

# The test cluster's name: choose another when two checkouts test at the same time.
CLUSTER ?= tests
ON_CLUSTER = $(BIN)/python -m tests.cluster --name $(CLUSTER)
# A new cluster, the tests that are marked so, and down again; $(1) is the selection, $(2) further options.
define cluster_tests
	$(ON_CLUSTER) down
	$(ON_CLUSTER) up
	$(ON_CLUSTER) shell -- sh -c '$(PYTEST) $(2) -m "$(1)" "--cluster=$$KUBECONFIG"' || { $(ON_CLUSTER) down; exit 1; }
	$(ON_CLUSTER) down
endef

.PHONY: up test test-env test-all test-cluster drill lint bench lightrag clean

up: .venv/up                       ## install lightragctl and start the local profile
	$(BIN)/lightragctl up

test: .venv/test                   ## what a newcomer runs: no root, no cluster, a few minutes
	$(PYTEST) -m "not milvus and not cluster and not slow and not drill"

test-env: .venv/test               ## what `test` needs, installed

test-all: .venv/test .venv/lightrag lint          ## and the real Milvus 2.3.5 and Kubernetes; with REQUIRE_ALL=1 a skip is a failure
	$(PYTEST) -m "not drill and not cluster"
	$(call cluster_tests,cluster and not drill)

test-cluster: .venv/test           ## the stories on a real cluster alone; as root, the first time takes 15 minutes more
	$(call cluster_tests,cluster and not drill)

drill: .venv/test                  ## every fault, many times
	$(PYTEST) -s -m "drill and not cluster"
	$(call cluster_tests,cluster and drill,-s)

lint: .venv/test
	$(BIN)/ruff check lightragctl tests
	$(BIN)/ruff format --check lightragctl tests
	$(BIN)/mypy
	$(BIN)/lint-imports

lightrag: .venv/lightrag           ## upstream LightRAG beside us: 90 packages more, a minute
	@echo 'now: $(BIN)/lightragctl up --set components.lightrag-server.enabled=true'

bench: .venv/test                  ## timings, for people to read; nothing is asserted
	$(BIN)/python -m tests.bench

clean:                             ## remove what was installed and built here; releases and their data stay
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "lightragctl needs Python 3.11 or newer; try: make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv

.venv/up: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[$(EXTRAS_UP)]'
	touch $@

.venv/lightrag: .venv/up
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[$(EXTRAS_UP),lightrag]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --no-deps $(VOCABULARY)
	touch $@

.venv/test: .venv/up
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[$(EXTRAS_UP),dev]'
	touch $@
