# Development of queuectl. Every target sets itself up: `make` alone tells what there is.

PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3.10 python3; do \
	$$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))' 2>/dev/null && { echo $$p; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/made
# Most tests start many processes of ours: without compiled modules each would compile them anew.
export PYTHONDONTWRITEBYTECODE :=
# Many tests wait more than they compute.
WORKERS ?= 6

# A virtual environment whose Python does not run (moved, or its base removed) is made anew.
ifneq ($(shell $(BIN)/python -c 'print(1)' 2>/dev/null),1)
.PHONY: $(STAMP)
endif

.DEFAULT_GOAL := help

$(STAMP): pyproject.toml
	@test -n "$(PYTHON)" || { echo "make: no Python 3.10 or newer with venv found; name one: make PYTHON=..." >&2; exit 1; }
	@echo "setting up $(VENV)"
	@rm -rf $(VENV)
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

.PHONY: help
help: ## this list
	@grep -hE '^[a-z]+:.*## ' Makefile | sed -E 's/^([a-z]+):.*## /\1\t/' | expand -t 10

.PHONY: demo
demo: $(STAMP) ## tell the story of queuectl on real input, in a temporary directory
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python scripts/demo.py

.PHONY: test
test: $(STAMP) ## the whole suite (make test TESTS=tests/store for a part)
	@# Once, so that not all of them compile all modules at one moment.
	@$(BIN)/python -m pytest --collect-only --quiet $(TESTS) > /dev/null || true
	@$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(TESTS)

.PHONY: lint
lint: $(STAMP) ## style, types, and the layers of the modules
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/bandit --quiet --configfile pyproject.toml --recursive queuectl scripts bench bin/docker-entrypoint

CHAOS_S ?= 60
SEED ?=
MODE ?= both

.PHONY: chaos
chaos: $(STAMP) ## break things for CHAOS_S=60 s with SEED=n and workers of MODE=process, thread or both (by turns), and check
	@$(BIN)/python tests/chaos --seconds $(CHAOS_S) --seed "$(SEED)" --mode $(MODE)

.PHONY: cover
cover: $(STAMP) ## which lines the suite runs, workers and commands included
	@$(BIN)/coverage erase
	@$(BIN)/coverage run -m pytest -n $(WORKERS) --dist worksteal $(TESTS)
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage report

$(VENV)/made-bench: $(STAMP)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[bench]'
	@touch $@

.PHONY: bench
bench: $(VENV)/made-bench ## measure how fast it is (some minutes; wants an idle machine), into bench/results
	@$(BIN)/python bench

.PHONY: picture
picture: $(STAMP) ## draw docs/terminal.svg and docs/watch.svg from real runs
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python scripts/picture.py docs/terminal.svg
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python scripts/watch_picture.py docs/watch.svg

.PHONY: man
man: $(STAMP) ## write the manual page, man/queuectl.1, from what --help is made of
	@$(BIN)/python scripts/manpage.py man/queuectl.1

.PHONY: docker
docker: ## build the container image
	@command -v docker >/dev/null || { echo "make docker: docker is not installed" >&2; exit 1; }
	docker build --tag queuectl .

.PHONY: clean
clean: ## remove all that was made
	rm -rf $(VENV) build dist htmlcov .coverage* .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
