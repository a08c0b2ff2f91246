# Every target sets up what it needs, from nothing. Start with `make demo` or `make test`.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
PYTHON ?= python3
BIN := .venv/bin
SAY = @printf '\033[1m== %s\033[0m\n'
PIP = -m pip --disable-pip-version-check --quiet
# The tests start thousands of processes: without compiled modules each would compile them all anew.
unexport PYTHONDONTWRITEBYTECODE
# Files of tests side by side: many wait more than they compute.
BESIDE = -n $$(($$(nproc) + 1)) --dist loadfile

.PHONY: help demo test lint check tools agents oldest chaos system deb bench docs clean

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: .venv/ready  ## Watch rdagentd supervise a real agent (Ralph) through a crash of the daemon
	@demo/run

# The agents wait for their models and for pip most of the time: they run beside the rest, and are heard at the end.
test: lint tools  ## Everything that CI runs: lint, all tests, agents themselves, the oldest dependencies, booted machines
	@mkdir -p .cache; $(MAKE) --no-print-directory agents >.cache/agents.log 2>&1 & agents=$$!; \
	failed=0; $(MAKE) --no-print-directory --keep-going check oldest system || failed=1; \
	wait $$agents || failed=1; cat .cache/agents.log; exit $$failed

check: .venv/ready tools
	$(SAY) "tests"
	@$(BIN)/python -m pytest $(BESIDE)

# Of Prometheus, Redis, PostgreSQL and Docker the tests want the programs alone: no service starts meanwhile (invoke-rc.d(8)).
tools:  # what the tests use besides Python, where it can be installed; elsewhere those tests say why they are skipped
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    missing=(); \
	    for tool in zsh fish systemd-analyze:systemd bwrap:bubblewrap nft:nftables docker:docker.io dockerd:docker.io \
	            apparmor_parser:apparmor iptables busybox:busybox-static wrk curl strace chromium prometheus openssl logrotate \
	            redis-server psql:postgresql; do \
	        command -v "$${tool%:*}" >/dev/null || missing+=("$${tool#*:}"); \
	    done; \
	    if (($${#missing[@]})); then \
	        printf '\033[1m== %s\033[0m\n' "installing what the tests use: $${missing[*]}"; \
	        policy=/usr/sbin/policy-rc.d; \
	        if [ ! -e $$policy ]; then printf '#!/bin/sh\nexit 101\n' >$$policy; chmod +x $$policy; trap "rm $$policy" EXIT; fi; \
	        apt-get update -qq && apt-get install -y -qq --no-install-recommends "$${missing[@]}" >/dev/null; \
	    fi; \
	fi

agents: .venv/ready tools  ## RD-Agent itself, from PyPI, as a worker: 2 GB in .cache/agents, once
	$(SAY) "agents"
	@$(BIN)/python -m pytest -m agents tests/agents tests/benchmarks --durations=3

lint: .venv/ready  ## ruff, mypy --strict, the import contracts, documents up to date
	$(SAY) "lint"
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python docs/generate.py --check

oldest: .venv-oldest/ready
	$(SAY) "tests with the oldest dependencies allowed (Debian 12's)"
	@.venv-oldest/bin/python -m pytest $(BESIDE) -m "not crash and not slow" tests/model tests/protocol tests/core tests/config tests/store tests/api tests/supervisor tests/executor tests/dockerproxy tests/gateway --ignore tests/gateway/page tests/test_detach.py

chaos: .venv/ready  ## The crash tests in full: hundreds of SIGKILLs; takes a while
	$(SAY) "chaos"
	@RDAGENTD_CHAOS=full $(BIN)/python -m pytest -m crash --timeout 1800

system: .venv/ready  ## The package on booted Debian 12 and 13 in qemu, some at once; needs root, most of an hour
	$(SAY) "booted machines"
	@if [ "$$(id -u)" = 0 ]; then \
	    $(BIN)/python -m pytest -m system tests/system -n $$(($$(nproc) < 3 ? $$(nproc) + 1 : 4)) --dist loadscope --no-loadscope-reorder -v --durations=10; \
	else \
	    echo "skipped: building machines needs root"; [ "$${CI:-}" != true ]; \
	fi

deb:  ## Build the Debian package into dist/
	@packaging/deb/build

bench: .venv/ready  ## Measure beside supervisor and circus; writes benchmarks/results.md
	@benchmarks/run

docs: .venv/ready  ## Write the generated pages again
	@$(BIN)/python docs/generate.py

clean:  ## Remove what the targets above made
	rm -rf .venv .venv-* .cache build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/ready: pyproject.toml
	$(SAY) "setting up .venv (once)"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python $(PIP) install -e '.[dev]'
	@touch $@

.venv-oldest/ready: pyproject.toml constraints/oldest.txt
	$(SAY) "setting up .venv-oldest (once)"
	@$(PYTHON) -m venv .venv-oldest
	@MSGPACK_PUREPYTHON=1 .venv-oldest/bin/python $(PIP) install -c constraints/oldest.txt -e . pytest pytest-timeout pytest-xdist hypothesis jsonschema pyyaml openapi-spec-validator
	@touch $@
