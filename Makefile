# make demo      compress a real trained model, score it before and after
# make test      the test suite without its slow part        make test-all   all of it
# make check     ruff and pyright                            make bench      the tables of docs and README
# make setup     only the virtual environment                make clean      remove it and every cache

VENV := .venv
BIN := $(VENV)/bin
WORKERS ?= 2
SENTENCES := .cache/zoo/vaderSentiment-3.3.2.tar.gz
# Every table has its script; a leading underscore marks what the scripts share.
SCRIPTS := $(patsubst benchmarks/%.py,benchmarks.%,$(filter-out benchmarks/_%.py benchmarks/demo.py,$(sort $(wildcard benchmarks/*.py))))

# torch's CPU build at hand is for 3.11, so that one is preferred where there are several.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3.14 python3; do \
	$$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $$p && break; done)

INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
PINS := -c constraints.txt

.DEFAULT_GOAL := help
.PHONY: help demo test test-all check format bench setup clean

help:
	@sed -n '1,4s/^# //p' Makefile

demo: $(VENV)/.run $(VENV)/.zoo-demo $(SENTENCES)
	$(BIN)/python -m benchmarks.demo

test: $(VENV)/.dev $(VENV)/.zoo-small
	$(BIN)/python -m pytest -n $(WORKERS) -m "not slow"

test-all: $(VENV)/.dev $(VENV)/.zoo $(SENTENCES)
	$(BIN)/python -m pytest -n $(WORKERS)

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.dev $(VENV)/.zoo $(VENV)/.peers .venv-quantizers/.peers $(SENTENCES)
	@for script in $(SCRIPTS); do echo "== $$script"; $(BIN)/python -m $$script || exit 1; done

setup: $(VENV)/.dev $(VENV)/.zoo-small

clean:
	rm -rf $(VENV) .venv-quantizers .cache build dist *.egg-info .pytest_cache .ruff_cache .hypothesis

# Stamps: a step runs again only when a file that it reads has changed. A step that fails leaves no stamp.

$(VENV)/.python:
	@test -n "$(PYTHON)" || { echo "netwright needs Python 3.11 or newer with pip and venv; none was found. Set PYTHON=..." >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.run: pyproject.toml constraints.txt | $(VENV)/.python
	$(INSTALL) $(PINS) -e '.[torch,train,factorize,codec,cim,zoo]'
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/.python
	$(INSTALL) $(PINS) -e '.[torch,train,factorize,codec,cim,zoo,dev,bench]'
	@touch $(VENV)/.run $@

$(VENV)/.zoo-small: requirements/zoo-small.txt | $(VENV)/.python
	$(INSTALL) --no-deps -r $<
	@touch $@

$(VENV)/.zoo-demo: requirements/zoo-demo.txt | $(VENV)/.python
	$(INSTALL) --no-deps -r $<
	@touch $@

$(VENV)/.peers: requirements/peers.txt | $(VENV)/.python
	$(INSTALL) --no-deps -r $<
	@touch $@

# Their dependencies must not come in: an environment of their own.
.venv-quantizers/.peers: requirements/quantizers.txt
	$(PYTHON) -m venv .venv-quantizers
	.venv-quantizers/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r $<
	@touch $@

$(VENV)/.zoo: requirements/zoo.txt requirements/zoo-small.txt requirements/zoo-demo.txt | $(VENV)/.python
	$(INSTALL) --no-deps -r $<
	@touch $@

# vaderSentiment's wheel leaves its labelled sentences out; its source archive has them.
$(SENTENCES): | $(VENV)/.python
	mkdir -p $(@D)
	$(BIN)/python -m pip download --quiet --disable-pip-version-check --no-deps --no-binary :all: -d $(@D) vaderSentiment==3.3.2
