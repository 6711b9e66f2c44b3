# make setup | demo | test | check | clean; `make help` lists all. Another interpreter: make setup PYTHON=/path/to/python3.11
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?=
VENV := .venv
BIN := $(VENV)/bin
PACKAGES := $(VENV)/.packages-installed
# Each in an environment of its own, beside .venv.
TOOLCHAINS := $(patsubst %,$(VENV)/.%-installed,onnx2tf tensorflow jax onnx2tf-tensorflow tflite-runtime onnxruntime-openvino)
TARGETS := onnx,onnxruntime,openvino,tflite
# Files side by side on two cores; a file's tests share what its fixtures made.
PYTEST_FLAGS ?= -n 2 --dist loadfile

# The first Python 3.11 that really runs and can make environments: a name on PATH may be a shim without a Python behind it.
define FIND_PYTHON
for candidate in "$(PYTHON)" python3.11 "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/3.11.*/bin/python3.11 python3 python; do \
    if "$$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info[:2] != (3, 11))' >/dev/null 2>&1; then \
        found="$$candidate"; break; \
    fi; \
done; \
if [ -z "$${found:-}" ]; then \
    echo "No working Python 3.11 with venv was found. Install one, or name it: make setup PYTHON=/path/to/python3.11" >&2; exit 3; \
fi
endef

.PHONY: help setup demo test test-fast check docs format constraints benchmarks clean

help: ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 22

setup: $(PACKAGES) $(TOOLCHAINS) ## a .venv with dlconv, its frameworks, the tools, and the toolchains beside it

$(PACKAGES): pyproject.toml constraints.txt
	@$(FIND_PYTHON); if [ ! -x $(BIN)/python ]; then echo "Python: $$found"; "$$found" -m venv $(VENV); fi
	$(BIN)/python -m pip install -qq --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install -qq --constraint constraints.txt --group dev --editable '.[all,trackers]'
	@touch $@

$(VENV)/.%-installed: dlconv/workers/locks/%.txt $(PACKAGES)
	$(BIN)/dlconv toolchain install $*
	@touch $@

demo: setup ## the main job on a trained model: export, verify, report
	$(BIN)/dlconv export models/digits/digits.pt --to $(TARGETS) --samples models/digits/samples.npz -o out/demo

test: setup ## all tests that a machine without a GPU can run, with branch coverage
	$(BIN)/python -m pytest --cov --cov-report= $(PYTEST_FLAGS)

test-fast: $(PACKAGES) ## without the slow ones, and without coverage
	$(BIN)/python -m pytest -m 'not slow' $(PYTEST_FLAGS)

docs: $(PACKAGES) ## the documents as a site, in out/site; a warning is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

check: $(PACKAGES) ## format, lint, types, the site, and the coverage of the last `make test`
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pyright
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@if [ -e .coverage ]; then $(BIN)/coverage report; else echo "no coverage yet: make test measures it"; fi

format: $(PACKAGES) ## put the sources in order
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

constraints: $(PACKAGES) ## write constraints.txt anew; torch stays at the release for which CPU builds are at hand
	$(BIN)/python -m pip install -qq --dry-run --ignore-installed --report $(VENV)/resolved.json \
	    --group dev --group benchmarks --group docs --editable '.[all,trackers]' torch==2.13.0 onnxruntime==1.31.1
	$(BIN)/python -c 'import json, sys; found = [item["metadata"] for item in json.load(sys.stdin)["install"]]; \
	    print(*sorted(m["name"].lower() + "==" + m["version"].split("+")[0] for m in found if m["name"] != "dlconv"), sep="\n")' \
	    <$(VENV)/resolved.json >constraints.txt

benchmarks: $(PACKAGES) ## what benchmarks/ needs besides
	$(BIN)/python -m pip install -qq --constraint constraints.txt --group benchmarks

clean: ## remove the environment, the caches and what was exported
	rm -rf $(VENV) out dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage .coverage.* htmlcov
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
