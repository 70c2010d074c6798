# The template repository's commands. Everything they need is installed into .venv from requirements-dev.lock.
.DEFAULT_GOAL := help
.PHONY: help demo demo-down test test-full test-nightly bench lint lock docs release engine engine-down
PYTHON ?= python3
DIR ?= demo
CHECKS ?= lint test
VENV := .venv/bin/python
# One worker more than there are CPUs, because tests often wait for a lab. One test: .venv/bin/python -m pytest FILE
PYTEST := $(VENV) -m pytest --numprocesses=auto --dist=loadgroup --no-loadscope-reorder

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## Render a project, build it, start it and run its notebook (DIR=demo)
	@$(PYTHON) -c '$(NEW_ENOUGH)'
	@$(PYTHON) -m engine up & engine=$$!; $(MAKE) --no-print-directory .venv/ready && wait $$engine && $(VENV) -m tools.demo up "$(DIR)"

demo-down: .venv/ready ## Stop the demo and remove its folder (DIR=demo)
	@$(VENV) -m tools.demo down "$(DIR)"

test: .venv/ready ## The tests of a quarter of an hour: every layer, the cases that matter most
	@$(VENV) -m pytest -m "not full and not nightly"

test-full: .venv/ready ## Every other case, in 45 minutes more
	@$(VENV) -m pytest -m "full and not nightly"

test-nightly: .venv/ready ## What cannot fit: every case and front end, built and run
	@$(VENV) -m pytest -m nightly

bench: .venv/ready ## Measure against the naive image; writes docs/explanation/performance.md
	@for what in images ablations limit labs packages saving; do $(VENV) -m benchmarks $$what || exit 1; done

lint: .venv/ready ## Format and check every file, as CI does
	@.venv/bin/pre-commit run --all-files

lock: .venv/ready ## Resolve every lock again; NAME=server for one
	@PATH="$(CURDIR)/.venv/bin:$$PATH" $(VENV) -m tools.lock $(NAME)

docs: .venv/ready ## Write the generated tables of docs/reference, and the site (build/site)
	@$(VENV) -m tools.reference
	@$(VENV) -m zensical build --strict --clean

release: .venv/ready ## Check, move CHANGELOG's "Unreleased", commit: VERSION=1.2.3
	@$(VENV) -m tools.release "$(VERSION)" $(CHECKS)

engine: ## Bring up a container engine where there is none (Debian family, as root)
	@$(PYTHON) -m engine up

engine-down: ## Undo `make engine`
	@$(PYTHON) -m engine down

.venv/ready: requirements-dev.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "labdock: Python 3.11 or later is needed, this is " + sys.version.split()[0] + ": make PYTHON=python3.13 ...")'
	@echo "Installing the tools into .venv ..."
	@$(PYTHON) -m venv --clear .venv
	@$(VENV) -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements-dev.lock
	@touch $@
