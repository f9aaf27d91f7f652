# `make` prints the list of targets. Everything runs from .venv, which is made where needed.
# Campaigns, measurements, the course and packages have Makefiles of their own: `make -C testing`.
include $(dir $(lastword $(MAKEFILE_LIST)))deploy/rules.mk
CODE := src library extensions testing course tests bench docs integrations conftest.py
EXTENSIONS = $(notdir $(wildcard extensions/*))
BENCHES = $(wildcard library/bench extensions/*/bench)
SPACE := $(subst ,, )
# The options of mypy for a tree that lacks a part.
MISSING = $$(PYTHONPATH=$(CURDIR)/src:$(CURDIR)/testing $(CURDIR)/$(PY) -m raftline_testing.runner.parts)
LIBRARY = $(filter-out tests bench __pycache__,$(notdir $(basename $(wildcard library/*))))
# By another name: make -n carries out the lines that name $(MAKE) itself, and would start the nodes.
SET_UP = $(MAKE)
FIRST = run test check docs test-all

.PHONY: help run test test-rest test-all check lint types format nightly kernel release wheel docs clean
.DEFAULT_GOAL := help

help: ## this list
	@awk -F ':[^#]*## ' -v first='$(FIRST)' '/^[a-z-]+:[^#]*## / { \
	  if (index(" " first " ", " " $$1 " ")) printf "  make %-14s %s\n", $$1, $$2; \
	  else rest = rest " " $$1 } END { print "also: make" rest }' Makefile
	@echo 'more: make -C testing (campaigns), course, bench, docs, integrations, deploy'

# Where nothing can be installed (no network, no venv module) the cluster runs all the same: the
# nodes and the client need the standard library alone. What the set-up said stands above.
run: ## three nodes on ports 10000-10002 and a client; reads commands from a pipe, too
	@trap 'exit 130' INT; \
	if $(SET_UP) -s .venv/run-installed 1>&2 </dev/null; then exec $(PY) -m raftline up --client; \
	elif $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then \
	  echo "The set-up failed (see above); going on with $(PYTHON) alone." >&2; \
	  exec $(PYTHON) src/cli.py up --client; \
	else exit 1; fi

test: .venv/dev-installed ## the quick tests; by a word: make test T=election
	@$(TESTS) $(if $(T),--word '$(T)',--lane quick)

test-rest: .venv/all-installed ## the tests that `make test` leaves out; with the course's: ALSO=course/tests
	@$(MAKE) -s .venv/fuzz-installed
	@$(TESTS) -n $(NODE_WORKERS) --dist worksteal --lane rest tests library extensions $(ALSO)

test-all: .venv/all-installed ## every test but the night's
	@$(TESTS)

check: lint types ## lint, spelling and types

lint: .venv/dev-installed ## ruff, its format, and common misspellings
	@$(PY) -m ruff check $(CODE)
	@$(PY) -m ruff format --check --quiet $(CODE) || { echo "make format puts that right" >&2; exit 1; }
	@$(PY) -m codespell_lib

format: .venv/dev-installed ## put the code into the one format
	@$(PY) -m ruff format $(CODE)

types: .venv/dev-installed build/typing/raftline ## mypy --strict; a little less for the tests
	@(cd build/typing && MYPYPATH=. ../../$(PY) -m mypy --config-file ../../pyproject.toml $(MISSING) \
	  --exclude '/(tests|bench)/' -p raftline -p raftline_testing -p raftline_course) >build/types.txt 2>&1; status=$$?; \
	  sed -E "$(EXTENSIONS:%=s#^raftline/%/#extensions/%/#;)$(LIBRARY:%=s#^raftline/%\b#library/%#;)s#^raftline/#src/#;s#^raftline_course/#course/&#;s#^raftline_testing/#testing/&#" build/types.txt; exit $$status
	@cd course/small && MYPYPATH=../../build/typing ../../$(PY) -m mypy --config-file ../../pyproject.toml \
	  --cache-dir ../../.mypy_cache/small *.py ../labs/solutions/write-raft/*.py
	@MYPYPATH=bench:$(subst $(SPACE),:,$(BENCHES)):build/typing $(PY) -m mypy --config-file pyproject.toml $(MISSING) bench/*.py $(BENCHES:%=%/*.py)
	@MYPYPATH=.:build/typing $(PY) -m mypy --config-file pyproject.toml --implicit-reexport \
	  --cache-dir .mypy_cache/tests $(MISSING) -p tests $(if $(wildcard library),-p library.tests) -p course.tests -p bench.tests -p testing.tests $(EXTENSIONS:%=-p raftline.%.tests)

nightly: .venv/all-installed ## the campaigns that were last run longest ago: simulated schedules, the tests of the night, nemesis, mutants, labs, grade-test, bench: make nightly [HOURS=8]
	@$(PY) testing/raftline_testing/runner/nightly.py $(if $(HOURS),--hours $(HOURS))

docs: .venv/docs-installed ## the pages and the API reference as a site with search, in build/site
	@rm -rf build/site && $(PY) -m sphinx -q -W --keep-going -E -j auto -b html -c docs/site -d build/site-doctrees \
	  . build/site
	@$(PY) docs/site/check.py build/site

kernel: .venv/dev-installed ## the kernel without its extensions, in a new folder: make kernel DIR=/tmp/kernel
	@$(PY) -m raftline_testing.runner.kernel $(DIR)

# The wheel is built from the sdist, in an environment that is made for it.
release: .venv/release-installed ## sdist and wheels in dist/, tried on each Python that is here; the notes, and the commands that are left
	@$(PY) deploy/git_version.py
	@mkdir -p build && rm -rf dist && $(PY) -m build --outdir dist . >build/release.txt 2>&1 || { cat build/release.txt >&2; exit 1; }
	@$(MAKE) -C course wheel ISOLATED=1
	@$(PY) -m twine check --strict dist/*
	@$(PY) deploy/release.py

# The Python of the set-up alone; `make -C deploy wheels` has one made for each Python that is installed.
wheel: .venv/dev-installed ## build a wheel with the compiled core for this Python into dist/
	@$(call compiled,$(PY) -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .)

clean: ## remove everything that was made, except the nodes' files in logs/
	@rm -rf .venv build dist *.egg-info src/*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find src library extensions testing course tests -name __pycache__ -type d -prune -exec rm -rf {} +

