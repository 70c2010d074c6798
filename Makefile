# The commands of the template repository. Their tools are installed into .venv from requirements-dev.lock.
.DEFAULT_GOAL := help
.PHONY: help demo demo-render demo-down test test-full test-nightly bench lint lock docs release engine engine-down python
PYTHON ?= python3
DIR ?= demo
CHECKS ?= lint test
VENV := .venv/bin/python
unexport PYTHONDONTWRITEBYTECODE # a program of .venv starts in half the time if its modules are compiled
# Runs tests in parallel. No further test starts after $(1) seconds. For one file: .venv/bin/python -m pytest FILE
PYTEST = $(VENV) -m pytest --numprocesses=auto --dist=loadscope --no-loadscope-reorder --session-timeout=$(1)

help: ## Shows this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: export DEMO_BEGAN := $(shell date +%s)
demo: ## Creates a project, builds and starts its lab, and runs its notebook (DIR=demo)
	@$(MAKE) --no-print-directory --jobs=2 engine demo-render
	@$(VENV) -m tools.demo up "$(DIR)"

demo-render: .venv/ready
	@$(VENV) -m tools.demo render "$(DIR)"

demo-down: .venv/ready ## Stops the demo and removes its folder (DIR=demo)
	@$(VENV) -m tools.demo down "$(DIR)"

test: .venv/ready ## Runs the most important tests of every layer (8 minutes)
	@$(call PYTEST,1200) -m "not full and not nightly"

test-full: .venv/ready ## Runs the tests of rarer cases (about 30 minutes more)
	@$(call PYTEST,3600) -m "full and not nightly"

test-nightly: .venv/ready ## Runs the slowest and rarest tests, which take hours: the largest environments, many builds
	@$(call PYTEST,21600) --timeout=7200 -m nightly

bench: .venv/ready ## Compares the lab with an image built in the usual way; writes docs/explanation/performance.md
	@for what in images apart ablations parts labs packages saving walls cluster faults; do $(VENV) -m benchmarks $$what || exit 1; done

lint: .venv/ready ## Formats and checks every file, as CI does
	@.venv/bin/pre-commit run --all-files

lock: .venv/ready ## Resolves every lock again; NAME=server resolves only the lock of the server
	@PATH="$(CURDIR)/.venv/bin:$$PATH" $(VENV) -m tools.lock $(NAME)

docs: .venv/ready ## Writes the generated tables of the docs, and the site (build/site)
	@$(VENV) -m tools.reference
	@$(VENV) -m zensical build --strict --clean

release: .venv/ready ## Checks everything, adds the version to CHANGELOG.md and commits; needs VERSION=1.2.3
	@$(VENV) -m tools.release "$(VERSION)" $(CHECKS)

engine: | python ## Starts a container engine if none answers (on Debian, as root)
	@$(PYTHON) -m engine up

engine-down: | python ## Undoes `make engine`
	@$(PYTHON) -m engine down

python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "labdock: Python 3.11 or later is needed, this is " + sys.version.split()[0] + ": make PYTHON=python3.13 ...")'

# `make demo` starts the engine at the same time. That takes longer, so this is `nice`.
.venv/ready: requirements-dev.lock | python
	@echo "Installing the tools into .venv ..."
	@nice $(PYTHON) -m tools.install
	@touch $@
