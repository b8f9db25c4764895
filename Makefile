# Evergreet: the commands. `make help` lists them.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Kept bytecode: else each of the many processes (commands, flow runs, workers) compiles all of Evergreet anew.
export PYTHONDONTWRITEBYTECODE :=
export DO_NOT_TRACK := 1
export PREFECT_SERVER_ANALYTICS_ENABLED := false
export PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT := false

.PHONY: help
help: ## Say what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

$(STAMP): pyproject.toml constraints.txt
	@echo "Setting up $(VENV) (once, about a minute) …"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt uv
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode -c constraints.txt -e . --group dev
	@touch $@

.PHONY: setup
setup: $(STAMP) ## Make the virtual environment

.PHONY: demo
demo: $(STAMP) ## All campaigns over two years of a sample shop: funnel, balances, mails
	@$(BIN)/python -m evergreet.demo

.PHONY: up
up: $(STAMP) ## A local Prefect server with UI, a worker and all deployments
	@$(BIN)/python -m evergreet.orchestration.up

.PHONY: bench
bench: $(STAMP) ## CPU per message on both stores into three sinks, 10,000 and 100,000 messages (N=2000: quick), and events over HTTP
	@$(BIN)/python -m benchmarks $(if $(N),--n $(N)) --transactional $(if $(N),$(N),2000) --ingest $(if $(N),5,20) $(BENCH)

.PHONY: bench-large
bench-large: $(STAMP) ## The same for a million messages, and a segment over 10 million events
	@$(BIN)/python -m benchmarks --n 1000000 --segment 1000000 10000000 $(BENCH)

.PHONY: bench-workers
bench-workers: $(STAMP) ## One, two and four processes that send for one campaign on one PostgreSQL, then as Prefect workers
	@$(BIN)/python -m benchmarks.workers $(if $(N),--n $(N)) $(BENCH)
	@$(BIN)/python -m benchmarks.prefect_workers $(if $(N),--n $(N))

.PHONY: replicas
replicas: $(STAMP) ## Two replicas of the Prefect server on PostgreSQL and Redis, half of it killed during a campaign
	@$(BIN)/python -m tests.orchestration.replicas

.PHONY: bench-peers
bench-peers: $(STAMP) ## Others at the same work, also by two runners at once and killed (fetches them from PyPI)
	@$(BIN)/python -m benchmarks --n 0 --peers $(if $(N),$(N),3000) $(BENCH)

.PHONY: chaos
chaos: $(STAMP) ## Faults on real processes, all books compared (SEED=… MINUTES=… STORE=…), a death at every boundary, replicas
	@$(BIN)/python -m tests.chaos $(if $(SEED),--seed $(SEED)) $(if $(MINUTES),--minutes $(MINUTES)) $(if $(STORE),--store $(STORE))
	@EVERGREET_EVERY_BOUNDARY=1 $(BIN)/python -m pytest -q -n 2 --dist load tests/faults/test_every_boundary.py \
		tests/faults/test_deaths_while_asking.py tests/faults/test_deaths_while_stages_move.py \
		tests/faults/test_deaths_while_repeating.py tests/faults/test_deaths_between_providers.py \
		tests/faults/test_broken_connection.py
	@if command -v redis-server >/dev/null; then $(MAKE) --no-print-directory replicas; \
		else echo "Left out: replicas of the Prefect server (there is no redis-server here)."; fi

.PHONY: clients
clients: $(STAMP) ## Clients of others, unmodified: Segment's pointed at /v1, Pipedrive's and Shopify's at ours (fetches those for Node)
	@EVERGREET_CLIENTS=1 $(BIN)/python -m pytest -q tests/web/test_segment_python.py tests/web/test_segment_node.py \
		tests/connectors/crm/test_pipedrive.py tests/connectors/events/test_shopify_node.py

.PHONY: test
test: $(STAMP) ## All tests, by three processes: they wait for servers more than they compute
	@$(BIN)/python -m pytest -n 3 --dist loadscope --no-loadscope-reorder -q

.PHONY: check
check: $(STAMP) ## What CI runs: format, lint, types, imports, tests, wheel
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	@$(MAKE) --no-print-directory test
	@$(MAKE) --no-print-directory wheel

.PHONY: wheel
wheel: $(STAMP) ## Build the wheel and try it in an empty folder
	@$(BIN)/python tests/wheel.py

.PHONY: format
format: $(STAMP) ## Format and mend what can be mended
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

.PHONY: constraints
constraints: ## Pin the versions anew
	@$(BIN)/uv pip compile --quiet --universal --no-emit-index-url --no-header --group dev pyproject.toml -o constraints.txt
