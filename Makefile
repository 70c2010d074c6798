# The template repository's commands. Everything they need is installed into .venv from requirements-dev.lock.
.DEFAULT_GOAL := help
.PHONY: help demo demo-render demo-down test test-full test-nightly bench lint lock docs release engine engine-down python
PYTHON ?= python3
DIR ?= demo
CHECKS ?= lint test
VENV := .venv/bin/python
# The tests in parallel; the seconds after which no further test starts. One file: .venv/bin/python -m pytest FILE
PYTEST = $(VENV) -m pytest --numprocesses=auto --dist=loadscope --no-loadscope-reorder --session-timeout=$(1)

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: export DEMO_BEGAN := $(shell date +%s)
demo: ## Render a project, build it, start it and run its notebook (DIR=demo)
	@$(MAKE) --no-print-directory --jobs=2 engine demo-render
	@$(VENV) -m tools.demo up "$(DIR)"

demo-render: .venv/ready
	@$(VENV) -m tools.demo render "$(DIR)"

demo-down: .venv/ready ## Stop the demo and remove its folder (DIR=demo)
	@$(VENV) -m tools.demo down "$(DIR)"

test: .venv/ready ## Test every layer with its most important cases (8 minutes)
	@$(call PYTEST,1200) -m "not full and not nightly"

test-full: .venv/ready ## Test every other case (25 minutes more)
	@$(call PYTEST,3600) -m "full and not nightly"

test-nightly: .venv/ready ## Test what takes hours: the largest environments, many builds
	@$(call PYTEST,21600) --timeout=7200 -m nightly

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

engine: | python ## Start a container engine if none answers (on Debian, as root)
	@$(PYTHON) -m engine up

engine-down: | python ## Undo `make engine`
	@$(PYTHON) -m engine down

python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "labdock: Python 3.11 or later is needed, this is " + sys.version.split()[0] + ": make PYTHON=python3.13 ...")'

.venv/ready: requirements-dev.lock | python
	@echo "Installing the tools into .venv ..."
	@$(PYTHON) -m tools.install
	@touch $@
