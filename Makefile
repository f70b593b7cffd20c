# GPU Sentinel. `make up` and `make test` do all the set-up they need.
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help up test test-containers lint docs bench bench-connections clean

help: ## this text
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMP): pyproject.toml scripts/install-python.sh
	@sh scripts/install-python.sh $(VENV)
	@touch $@

up: $(STAMP) ## exporter and Prometheus on this machine; with simulated GPUs where there is none
	@sh scripts/install-tools.sh run
	@$(BIN)/gpu-sentinel up $(ARGS)

test: $(STAMP) ## all tests, types and style
	@sh scripts/install-tools.sh test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest $(ARGS)

test-containers: $(STAMP) ## the compose file and the image, built and run for real (as root)
	@sh scripts/install-tools.sh containers
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[containers]'
	$(BIN)/pytest -m containers tests/containers $(ARGS)

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
		tests/exposition/test_golden_dcgm.py tests/test_migration_page.py --write-golden

bench: $(STAMP) ## figures for docs/performance.md; see benchmarks/README.md
	$(BIN)/python benchmarks/run.py $(ARGS)

bench-connections: $(STAMP) ## what a thousand hostile connections do to scrapes
	$(BIN)/python benchmarks/connections.py $(ARGS)

clean: ## remove what was set up here
	rm -rf $(VENV) .cache data dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
