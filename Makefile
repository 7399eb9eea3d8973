# Needs Python 3.11 or newer and make. Everything is installed into .venv in this folder.
#
#   make up                      install lightragctl and start the local profile
#   make test                    what a newcomer runs: no root, no cluster, no Go, three minutes on two cores
#   make test-all                everything, with the real Milvus 2.3.5 and a real Kubernetes; REQUIRE_ALL=1: no skips
#   make test-cluster            the stories on a real cluster alone
#   make drill [STORY=kill]      repetitions: all, or those with this word in the name; an unknown word lists the names
#   make lint bench lightrag clean
#
# Levels, budgets and the rules for new tests: docs/contributing/tests.md.
PYTHON ?= python3
BIN := .venv/bin
EXTRAS_UP := local,service,ingest,bench,backup
# The tokenizer's vocabulary that upstream LightRAG would fetch: two files in this wheel, none of its dependencies.
VOCABULARY := llama-index-core

# How many tests run at the same time. Many wait for processes, so one more than there are cores; 0: in this process.
WORKERS ?= 3
PYTEST := $(BIN)/python -m pytest -q --durations=15 -n $(WORKERS)

# The test cluster's name: choose another when two checkouts test at the same time.
CLUSTER ?= tests
ON_CLUSTER = $(BIN)/python -m tests.cluster --name $(CLUSTER)
# The tests that are marked so, with the running cluster, which is stopped afterwards; $(1) is the selection. The cluster
# goes before the tests where both want the processor: its probes have deadlines.
define cluster_tests
	$(ON_CLUSTER) shell -- sh -c 'exec nice -n 5 $(PYTEST) -m "$(1)" "--cluster=$$KUBECONFIG"' || { $(ON_CLUSTER) down; exit 1; }
	$(ON_CLUSTER) down
endef

# Tests are compiled with their assertions spelt out: once, not in each worker of each run.
unexport PYTHONDONTWRITEBYTECODE

INSTALL := PYTHON='$(PYTHON)' .ci/install

.PHONY: up test test-env test-all test-cluster drill lint bench lightrag clean env-up env-test env-lightrag

up: env-up                         ## install lightragctl and start the local profile
	$(BIN)/lightragctl up

test: env-test                     ## what a newcomer runs: no root, no cluster, three minutes
	$(PYTEST) -m "not milvus and not cluster and not slow and not drill"

test-env: env-test                 ## what `test` needs, installed

test-all: env-test env-lightrag    ## and the real Milvus 2.3.5 and Kubernetes; with REQUIRE_ALL=1 a skip is a failure
	$(ON_CLUSTER) down
	$(ON_CLUSTER) up & up=$$!; $(MAKE) lint; lint=$$?; wait $$up || exit 1; [ $$lint = 0 ] || { $(ON_CLUSTER) down; exit 1; }
	$(call cluster_tests,not drill)

test-cluster: env-test             ## the stories on a real cluster alone; as root, the first time takes 15 minutes more
	$(ON_CLUSTER) down
	$(ON_CLUSTER) up
	$(call cluster_tests,cluster and not drill)

drill: env-test                    ## every fault, many times; with STORY=NAME those with that in their name
	$(BIN)/python -m tests.drill --cluster-name $(CLUSTER) "$(STORY)"

lint: env-test
	$(BIN)/ruff check lightragctl tests
	$(BIN)/ruff format --check lightragctl tests
	$(BIN)/mypy
	$(BIN)/lint-imports

lightrag: env-lightrag             ## upstream LightRAG beside us: 90 packages more, a minute
	@echo 'now: $(BIN)/lightragctl up --set components.lightrag-server.enabled=true'

bench: env-test                    ## timings, for people to read; nothing is asserted
	$(BIN)/python -m tests.bench

clean:                             ## remove what was installed and built here; releases and their data stay
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

env-up:
	@$(INSTALL) up -e '.[$(EXTRAS_UP)]'

env-test: env-up
	@$(INSTALL) test -e '.[$(EXTRAS_UP),postgres,profiler,dev]'

env-lightrag: env-up
	@$(INSTALL) lightrag -e '.[$(EXTRAS_UP),lightrag]'
	@$(INSTALL) vocabulary --no-deps $(VOCABULARY)
