# Every target sets itself up: it needs Python 3.11 or newer and make, nothing else.
.DEFAULT_GOAL := help
.PHONY: help setup demo test check test-kafka chaos fuzz calibrate bench bench-quick bench-core bench-path \
	bench-pending bench-checkpoints soak profile clean

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Quix Streams wants an older confluent-kafka than ours, and py-spy is for profiles only.
BENCH_VENV := .venv-bench
BENCH_READY := $(BENCH_VENV)/.ready
# What comes after the command: make test ARGS="-k join -x"
ARGS ?=
# Tests without a broker run on every core, the others in two processes with a broker each; exit code
# 5 (ARGS chose none of them) is no failure.
SPREAD := -n auto --dist worksteal

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## virtual environment and dependencies, in .venv
	@echo "$(VENV) is ready"

demo: $(READY) ## broker, worker and real traffic in fast-forward; tells the story in the terminal
	@$(BIN)/driftline demo $(ARGS)

test: $(READY) ## the whole suite; on Apache Kafka if Java and Maven are here, else on the embedded broker
	@$(BIN)/pytest $(SPREAD) -m "not kafka" $(ARGS) || [ $$? -eq 5 ]
	@$(BIN)/pytest -n 2 --dist loadfile -m kafka $(ARGS) || [ $$? -eq 5 ]

check: $(READY) ## lint, format, types, layers, fast tests
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/pytest -q $(SPREAD) -m "not kafka and not slow" tests/unit tests/contract

# Exit code 4 means that Apache Kafka cannot be had here, and the message says why.
test-kafka: $(READY) ## the tests that need a broker, on Apache Kafka (fetched once; needs Java 17+ and Maven)
	@why=$$($(BIN)/python -m streams.brokers 2>&1) && code=0 || code=$$?; \
	case $$code in \
	0) DRIFTLINE_TEST_BROKER=apache $(BIN)/pytest -n 2 --dist loadfile -m kafka $(ARGS) ;; \
	4) echo "test-kafka skipped: $$why" ;; \
	*) echo "$$why" >&2; exit $$code ;; \
	esac

chaos: $(READY) ## 50 faults each on three seeded streams, on three Apache Kafka brokers; about half an hour
	@$(BIN)/python -m tests.chaos $(ARGS)

fuzz: $(READY) ## 10,000 hostile alerts and commands through every sender and stage; minutes
	@DRIFTLINE_EXAMPLES=10000 $(BIN)/pytest -n auto -o timeout=3600 tests/unit/test_render.py \
	  tests/unit/test_answers.py $(ARGS)

calibrate: $(READY) ## false alarms and delays of every detector by simulation; minutes
	@$(BIN)/python -m tests.detection.calibrate $(ARGS)

bench-core: $(READY) ## CPU time of an event in the core, beside the loop one would write; seconds
	@$(BIN)/python -m tests.bench.core $(ARGS)

bench-path: $(READY) ## CPU time of a prediction and its label in each stage, in memory; a minute
	@$(BIN)/python -m tests.bench.path $(ARGS)

bench-pending: $(READY) ## 20 million predictions that wait on disk: memory, size, lookups; minutes
	@$(BIN)/python -m tests.bench.pending $(ARGS)

bench-checkpoints: $(READY) ## what a checkpoint of 10,000 to a million waiting predictions costs; a minute
	@$(BIN)/python -m tests.bench.checkpoints $(ARGS)

bench: $(READY) $(BENCH_READY) ## events per CPU second beside Faust, Quix Streams and a plain loop; latency; minutes
	@$(BIN)/python -m tests.bench $(ARGS)

bench-quick: $(READY) $(BENCH_READY) ## the same in under a minute: one short run of each
	@$(BIN)/python -m tests.bench --quick $(ARGS)

soak: $(READY) ## whether the worker's memory stays where it is, over 10 million events
	@$(BIN)/python -m tests.bench.soak $(ARGS)

profile: $(READY) $(BENCH_READY) ## where the worker's CPU time goes, by stage and module
	@$(BIN)/python -m tests.bench.profiling $(ARGS)

clean: ## remove the virtual environment, caches and builds
	rm -rf $(VENV) $(BENCH_VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): pyproject.toml
	@found=; without_venv=; \
	for python in $(PYTHON) python3.13 python3.12 python3.11 python3 python; do \
	  "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue; \
	  "$$python" -c 'import ensurepip, venv' 2>/dev/null || { without_venv="$$python"; continue; }; \
	  found="$$python"; break; \
	done; \
	if [ -z "$$found" ] && [ -n "$$without_venv" ]; then \
	  echo "$$without_venv has no venv module; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; \
	elif [ -z "$$found" ]; then \
	  echo "Driftline needs Python 3.11 or newer, and none is on the PATH; make PYTHON=/path/to/python names one" >&2; exit 1; \
	fi; \
	echo "Setting up $(VENV) with $$("$$found" --version); the first time this takes a minute or two ..."; \
	[ -x $(BIN)/python ] || "$$found" -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

# What cannot be had is left out of the benchmark, which says so.
$(BENCH_READY): pyproject.toml $(READY)
	@echo "Setting up $(BENCH_VENV), for what only the benchmark needs ..."
	@$(BIN)/python -m venv $(BENCH_VENV) \
	  && $(BENCH_VENV)/bin/pip install --quiet --disable-pip-version-check --editable '.[bench]' \
	  && touch $@ || echo "Quix Streams and py-spy cannot be had here" >&2
