# `make` lists the targets. Everything runs in .venv, which the first target that needs it makes.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PYTEST := $(BIN)/python -m pytest

# The tests start some hundred Python processes, which would compile podpass anew, each of them.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo test check fix test-py test-all cluster test-cluster live bench docs errors lock clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) tools/bootstrap.py $(VENV)
	@touch $@

demo: $(STAMP)  ## federation and guarded services, end to end, in the sandbox
	@$(BIN)/podpass demo

test: $(STAMP)  ## every test that needs nothing but this machine
	$(PYTEST) -n 2 --dist worksteal -m "not cluster and not slow"

check: $(STAMP)  ## format, lint, types, floors; prints the sandbox's share of the source
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	@$(BIN)/python tools/share.py

fix: $(STAMP)  ## format, and mend what ruff can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test-py: $(STAMP)  ## the tests under every Python found (3.11 and later)
	@$(BIN)/python tools/every_python.py

test-all: $(STAMP)  ## the slow suites too, and those of a real control plane where there is one
	$(PYTEST) -n 2 --dist worksteal -m "not cluster"
	$(PYTEST) -n 2 --dist loadfile -m "cluster"

cluster: $(STAMP)  ## obtain a real kube-apiserver, kube-controller-manager, kubeadm and etcd, once
	@$(BIN)/python tools/control_plane/obtain.py

test-cluster: $(STAMP)  ## the tests that use them
	$(PYTEST) -n 2 --dist loadfile -m "cluster and not slow"

live: $(STAMP)  ## walk every command against PROJECT at Google and the kubeconfig's cluster, and undo it
	@$(BIN)/python tools/live.py --project "$(PROJECT)"

bench: $(STAMP)  ## benchmarks; results as JSON beside the machine they were measured on
	@for file in benchmarks/bench_*.py; do $(BIN)/python $$file || exit 1; done

docs: $(STAMP)  ## check every example of the docs
	$(PYTEST) tests/architecture -k "docs or readme"

errors: $(STAMP)  ## write docs/reference/errors.md anew, from the source
	@$(BIN)/python tools/errors_reference.py

lock: $(STAMP)  ## write requirements.lock anew
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --custom-compile-command "make lock" \
	  --python-version 3.11 --extra all --group dev pyproject.toml -o requirements.lock

clean:  ## remove .venv and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
