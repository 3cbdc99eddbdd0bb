# Two commands for a newcomer: `make demo` and `make test`. Each installs the Debian packages that are
# missing (as root), makes .venv and compiles the extension first; a second run finds all that done.
#
#   make setup                      everything the demo needs, and nothing more
#   make demo ARGS='--json my.wav'  the audio path, end to end, without Xen
#   make test PYTEST_ARGS='-k ring' all tests that need no hypervisor
#   make lint                       style, types, boundaries
#   make fuzz SECONDS=600           all fuzzers, the time split between them; 1 if one finds something
#   make bench                      cost, delay, scale beside the peers' (BENCH_ARGS=--quick: 2 minutes)
#   make bench-beside COMMIT=...    CPU a cycle, beside another commit at the same time
#   make xen-test                   on a real hypervisor, emulated (root; xen-images alone: its images)
#   make hostile HOSTILE_ARGS=10    every attack of a guest for 10 s, beside an honest one: a table
#   make changes                    what each change of the graph costs our devices and PipeWire's own
#   make root-test SUITE=trixie     the tests in another Debian release (root); ROOT_RUN: anything else
#   make pictures                   the README's pictures of mixers and status, anew
#   make packages                   the Debian packages, into dist/ (packaging/debian)
#   make install-test               them installed, used, upgraded, removed in Debian 12, 13, testing
#   make arm64-test                 them built for arm64 and the demo there, emulated (root)
#   make clean                      removes all that was made
#
# stdout belongs to the commands (`make -s` is not needed): set-up talks on stderr.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-builtin-rules --no-print-directory
.SILENT:
.DELETE_ON_ERROR:
.PHONY: setup setup-test demo test lint fuzz bench bench-beside hostile changes clean apt-demo apt-test
.PHONY: xen-images xen-test root-test faults packages install-test arm64-test pictures

VENV := .venv
PY := $(VENV)/bin/python
NATIVE := pw_module/xenpvaudio_native/_native.abi3.so
NATIVE_SOURCES := pw_module/build_native.py pw_module/build_plugins.py setup.py $(wildcard pw_module/src/*/*.[ch] pw_module/src/*/*.cdef)
PIP := $(PY) -m pip --disable-pip-version-check install -qq

setup: $(VENV)/.demo $(NATIVE)
	:
setup-test: apt-test $(VENV)/.test $(NATIVE)
	:

demo: setup
	$(VENV)/bin/xen-pv-audio demo $(ARGS)

# What plays no sound, or looks at no time of it, runs on all processors, the rest alone: a machine
# with other work stalls. Some of the former wait more than they compute: there are half as many more
# processes than processors.
UNITS := tests/bridge tests/fuzz tests/project tests/pw_module \
    tests/interop/card tests/interop/commands tests/interop/pages tests/interop/store
NO_TESTS := tests/xen
# A file that cannot be read fails, and the others are run all the same.
WHOLE := --continue-on-collection-errors
test: setup-test
ifeq ($(strip $(PYTEST_ARGS)),)
	status=0; \
	$(PY) -m pytest --numprocesses=$$(($$(nproc) * 3 / 2)) --dist=worksteal $(WHOLE) $(UNITS) || status=$$?; \
	$(PY) -m pytest $(WHOLE) $(addprefix --ignore=,$(NO_TESTS) $(UNITS)) || status=$$?; \
	exit $$status
else
	$(PY) -m pytest $(addprefix --ignore=,$(NO_TESTS)) $(PYTEST_ARGS)
endif

lint: setup-test
	$(PY) -m pytest -q tests/project/test_lint.py tests/project/test_boundaries.py $(PYTEST_ARGS)

# FUZZ_ARGS='--operations 100000000 requests': so many instead, as fast as they go
SECONDS ?= 60
FUZZ_ARGS ?= $(SECONDS)
fuzz: setup-test $(VENV)/.fuzz
	PYTHONPATH=tests $(PY) -m fuzz $(FUZZ_ARGS)

# BENCH_ARGS='--quick peers'; --json FILE, --picture FILE.svg
bench: setup-test
	PYTHONPATH=tests $(PY) -m bench $(BENCH_ARGS)

# COMMIT=v1.0: CPU a cycle of that commit and of this tree, at the same time
bench-beside: setup-test
	PYTHONPATH=tests $(PY) -m bench.beside $(COMMIT)

# HOSTILE_ARGS="4 OPEN": 4 s each, the rows with that word
hostile: setup-test
	PYTHONPATH=tests $(PY) -m hostile $(HOSTILE_ARGS)

# FAULTS_ARGS=XenStore: the faults with that word; FAULTS_ARGS=1000: rounds of connecting
faults: setup-test
	PYTHONPATH=tests $(PY) -m faults $(FAULTS_ARGS)

# CHANGES_ARGS='--only pw-record --runs 5'
changes: setup-test
	PYTHONPATH=tests $(PY) -m interop.changes $(CHANGES_ARGS)

# SUITE=bookworm, trixie for Debian 13's Xen and kernel, or trixie-backports for that with the newest
# kernel that Debian has backported. XEN_ARGS='--boot kernel' for one boot. At the usual priority: a
# lower one leaves an emulator that has busy programs beside it a tenth of a processor.
SUITE ?= bookworm
xen-images:
	python3 tests/xen/images.py $(SUITE)
xen-test: setup
	$(PY) tests/xen/run.py --suite $(SUITE) $(XEN_ARGS)

ROOT_RUN ?= python3 -m pytest --ignore=tests/xen $(PYTEST_ARGS)
root-test:
	python3 tests/roots/root.py $(SUITE) $(ROOT_RUN)

# needs pavucontrol, imagemagick, xdotool, and root and mmdebstrap for GNOME's panel
pictures: setup-test
	PYTHONPATH=tests $(PY) -m pictures packaging/doc/pictures

packages:
	packaging/setup-debian.sh packages >&2
	packaging/packages.sh

# SUITES="trixie sid"; two roots a suite are made the first time, which takes minutes
install-test:
	python3 tests/roots/install.py $(SUITES)

# The making of its root, too, is emulated, and takes the most of it
arm64-test:
	python3 tests/roots/arm64.py $(SUITE)

clean:
	rm -rf $(VENV) .cache build dist *.egg-info bridge/*.egg-info pw_module/*.egg-info $(NATIVE)
	find bridge pw_module tests -name __pycache__ -prune -exec rm -rf {} +

apt-demo:
	packaging/setup-debian.sh demo >&2
apt-test:
	packaging/setup-debian.sh test >&2

# The system's Python first (its headers are the package python3-dev), then whatever PATH has.
$(PY): | apt-demo
	for python in /usr/bin/python3 python3; do \
	    if $$python -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' \
	        2>/dev/null; then break; fi; \
	    python=; \
	done; \
	if [ -z "$$python" ]; then \
	    echo "xen-pv-audio: no Python 3.11 with venv: apt install python3 python3-venv" >&2; exit 3; \
	fi; \
	echo "setting up .venv with $$python" >&2; \
	$$python -m venv $(VENV) >&2

# Without build isolation: the tools are installed once, into .venv, not anew for every build.
$(VENV)/.demo: pyproject.toml setup.py | $(PY)
	$(PY) pw_module/build_native.py
	echo "installing xen-pv-audio into .venv" >&2
	$(PIP) 'setuptools>=66' wheel 'cffi>=1.15' >&2
	$(PIP) --no-build-isolation --editable . >&2
	touch $@

# `inspect` is optional for users, too: the test of it skips itself where the registry lacks it.
$(VENV)/.test: pyproject.toml $(VENV)/.demo
	echo "installing the tests' tools into .venv" >&2
	$(PIP) --no-build-isolation --editable '.[test,inspect]' >&2 \
	    || $(PIP) --no-build-isolation --editable '.[test]' >&2
	touch $@

# atheris is 35 MB, and the fuzzers in Python run without it, too, then without coverage.
$(VENV)/.fuzz: pyproject.toml $(VENV)/.test
	echo "installing atheris into .venv" >&2
	$(PIP) --no-build-isolation --editable '.[fuzz]' >&2 || echo "no atheris for this Python" >&2
	touch $@

# For sources that changed since pip compiled them. pip may have run a moment ago, after make had looked
# at the times: so the recipe looks again. --force: setuptools does not track every header.
$(NATIVE): $(NATIVE_SOURCES) | $(VENV)/.demo
	if [ ! -e $@ ] || [ -n "$$(find $(NATIVE_SOURCES) -newer $@)" ]; then \
	    $(PY) pw_module/build_native.py; \
	    echo "compiling the extension" >&2; \
	    $(PY) -W ignore setup.py -q build_ext --inplace --force >&2; \
	fi
