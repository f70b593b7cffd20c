# GPU Sentinel. `make up` and `make test` do all the set-up they need.
VENV   := .venv
BIN    := $(VENV)/bin
# Three processes for each processor, because many tests wait; `make test WORKERS=0` for one alone.
WORKERS ?= $(shell echo $$((3 * $$(getconf _NPROCESSORS_ONLN))))
RUNS ?= 20
PYTEST := $(BIN)/pytest -n $(WORKERS) --maxprocesses 8
STAMP  := $(VENV)/.installed
MINUTES ?= 30
KUBERNETES ?= v1.36.3
# Exactly what a lock says, each file checked against its hash.
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --requirement

.DEFAULT_GOAL := help
.PHONY: help up test test-long test-load test-containers test-cluster test-sick lint docs bench bench-connections

help: ## this text
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMP): pyproject.toml requirements/dev.txt scripts/install-python.sh
	@sh scripts/install-python.sh $(VENV)
	@touch $@

up: $(STAMP) ## exporter, Prometheus, Alertmanager on this machine; with simulated GPUs where there is none
	@sh scripts/install-tools.sh run
	@$(BIN)/gpu-sentinel up $(ARGS)

test: $(STAMP) ## all tests, types and style
	@sh scripts/install-tools.sh test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(PYTEST) $(ARGS)

test-long: $(STAMP) ## the tests that take longer, and property tests with five times as many examples
	@sh scripts/install-tools.sh test
	$(PYTEST) -m 'long or hypothesis' --hypothesis-profile long $(ARGS)

test-load: $(STAMP) ## all tests RUNS times beside busy loops on every processor; none may fail
	@sh scripts/install-tools.sh test
	@sh scripts/test-under-load.sh $(RUNS) $(PYTEST) -q $(ARGS)

test-containers: $(STAMP) ## the compose file and the image, built and run for real (as root)
	@sh scripts/install-tools.sh containers
	@$(INSTALL) requirements/tools.txt
	$(BIN)/pytest -m containers tests/containers $(ARGS)

test-sick: $(STAMP) ## every way in which a GPU can be sick, 4,000 cells: eight minutes of processor time
	@sh scripts/install-tools.sh test
	$(PYTEST) -m walk tests/sick $(ARGS)

test-cluster: $(STAMP) ## against a real kubelet, which is built once: three minutes and 2 GiB (as root)
	@sh scripts/install-cluster.sh .cache/cluster $(KUBERNETES)
	$(BIN)/pytest -m cluster tests/cluster $(ARGS)

lint: $(STAMP) ## put style right where that needs no thought
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(STAMP) ## write generated pages and golden files anew
	$(BIN)/gpu-sentinel metrics --format markdown > docs/metrics.md
	$(BIN)/gpu-sentinel xids --format markdown > docs/xids.md
	$(BIN)/gpu-sentinel metrics --format not-exported > docs/not-exported.md
	$(BIN)/python grafana/build
	$(BIN)/python grafana/build --layout
	$(BIN)/pytest -q tests/exposition/test_golden.py \
		tests/exposition/test_golden_dcgm.py tests/exposition/test_golden_owners.py \
		tests/test_migration_page.py \
		tests/sick/test_page.py --write-golden

bench: $(STAMP) ## figures for docs/performance.md at no cost a call and at three; see benchmarks/README.md
	$(BIN)/python benchmarks/run.py $(ARGS)
	$(BIN)/python benchmarks/connections.py

bench-connections: $(STAMP) ## what a thousand hostile connections do to scrapes
	$(BIN)/python benchmarks/connections.py $(ARGS)

.PHONY: soak tools lock sbom audit images
soak: $(STAMP) ## the whole stack for MINUTES, with something done to it each minute; see docs/soak.md
	@sh scripts/install-tools.sh run
	$(BIN)/python benchmarks/soak.py --minutes $(MINUTES) $(ARGS)

tools: $(STAMP)
	@$(INSTALL) requirements/tools.txt

lock: tools ## write requirements/ anew from pyproject.toml; ARGS=--upgrade takes newer versions
	@$(BIN)/python scripts/lock.py $(ARGS)
	@$(INSTALL) requirements/dev.txt
	@touch $(STAMP)
	@$(BIN)/python scripts/bill.py

sbom: $(STAMP) ## the bill of materials, requirements/sbom.cdx.json, from the lock
	@$(BIN)/python scripts/bill.py

audit: tools ## look up known vulnerabilities of everything that is locked (asks a service)
	@$(BIN)/python scripts/audit.py

images: $(STAMP) ## write the digests of the container images anew (asks their registry)
	@$(BIN)/python scripts/images.py $(ARGS)

clean: ## remove what was set up here
	rm -rf $(VENV) .cache data dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
