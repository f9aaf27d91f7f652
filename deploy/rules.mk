# What the Makefiles share: the environment in .venv, and how things are built. All paths are those
# of the clone's root.
PYTHON ?= python3
PY := .venv/bin/python
WORKERS ?= 2
# Tests of real nodes wait much, for elections and for timers. A worker takes neighbours, which
# share the nodes of their file.
NODE_WORKERS ?= 4
MINUTES ?= 60
SEED ?= 7
T ?=
ONLY ?=
WITH_DOCKER ?=
MAKEFLAGS += --no-print-directory
TESTS = $(PY) -m pytest -q --progress -o console_output_style=classic -n $(WORKERS) \
  $(if $(RAFTLINE_FAULTS),-p raftline_testing.mutants.judge_faults)
LIST = sed -n 's/^\([a-z-]*\):[^\#]*\#\# /\1\t/p'
.DELETE_ON_ERROR:

# Type checkers and editors name a package after its folder, so they see the three folders of sources through
# links. For jedi, the path of .venv ends with the folder of the links. Python finds the packages before that.
build/typing/raftline: $(filter-out src/raftline library/tests library/bench,$(wildcard src/* library/* extensions/*))
	@rm -rf $@ && mkdir -p $@ && for path in $^; do ln -sfn ../../../$$path $@; done
	@ln -sfn ../../course/raftline_course build/typing/raftline_course
	@ln -sfn ../../testing/raftline_testing build/typing/raftline_testing

# Compiled for tests, so little optimized. What it needs for tests is that of .venv.
build/sanitized-env: private export CFLAGS = -g -fno-omit-frame-pointer -fsanitize=address,undefined
build/sanitized-env: private export LDFLAGS = -fsanitize=address,undefined
build/wheel-env build/sanitized-env: .venv/dev-installed setup.py $(shell find src library extensions -name "*.py" 2>/dev/null)
	@echo "Compiling a wheel for the tests ..." >&2
	@rm -rf $@ $(@:-env=) && export RAFTLINE_OPTIMIZE=$${RAFTLINE_OPTIMIZE-1}; \
	  $(call compiled,$(PY) -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir $(@:-env=) .)
	@$(PYTHON) -m venv $@ && $@/bin/python -m pip install --quiet --no-deps --no-index $(@:-env=)/*.whl
	@$(PY) -c 'import site; print(site.getsitepackages()[0])' >"$$($@/bin/python -c 'import site; print(site.getsitepackages()[0])')/venv.pth"

# Without a network pip gives up within seconds; who sets these variables has their own way. They
# reach the pip that pip starts, too, which options do not.
INSTALL = PIP_RETRIES=$${PIP_RETRIES-1} PIP_DEFAULT_TIMEOUT=$${PIP_DEFAULT_TIMEOUT-$${PIP_TIMEOUT-5}} \
  PIP_DISABLE_PIP_VERSION_CHECK=1 $(PY) -m pip install --quiet --editable
# Without what an earlier build left: setuptools would put it into the wheel.
compiled = rm -rf build/lib* build/temp* build/bdist* build/compiled && RAFTLINE_COMPILE=$${RAFTLINE_COMPILE-1} $(1)
# Carries out $(1); what it says is shown where it fails, and not where Ctrl-C ends it.
quietly = trap 'exit 130' INT; said=$$($(1) 2>&1) || { printf '%s\n' "$$said" >&2; exit 1; }

.venv/run-installed: setup.py setup.cfg pyproject.toml
	@echo "Setting up .venv ..." >&2
	@$(MAKE) -s .venv-made
	@$(call quietly,$(INSTALL) '.[view]')
	@touch $@

.venv/dev-installed: setup.py setup.cfg pyproject.toml | build/typing/raftline
	@echo "Setting up .venv with the tools for tests and checks ..." >&2
	@$(MAKE) -s .venv-made
	@$(call quietly,$(INSTALL) '.[dev]')
	@echo "$(CURDIR)/build/typing" >"$$($(PY) -c 'import site; print(site.getsitepackages()[0])')/raftline_typing.pth"
	@touch $@ .venv/run-installed

.venv/all-installed: .venv/dev-installed
	@echo "Adding to .venv what only the longer tests need ..." >&2
	@$(call quietly,$(INSTALL) '.[test-all]')
	@touch $@

.venv/coverage-installed: .venv/dev-installed
	@$(call quietly,$(INSTALL) '.[coverage]')
	@touch $@

.venv/release-installed: setup.py setup.cfg pyproject.toml
	@echo "Setting up .venv with the tools for a release ..." >&2
	@$(MAKE) -s .venv-made
	@$(call quietly,$(INSTALL) '.[release]')
	@touch $@ .venv/run-installed

.venv/bench-installed: setup.py setup.cfg pyproject.toml
	@echo "Setting up .venv with the tools for measuring ..." >&2
	@$(MAKE) -s .venv-made
	@$(call quietly,$(INSTALL) '.[bench]')
	@touch $@ .venv/run-installed

# Without a build for this Python, or a network, the fuzzer is not guided, and says so.
.venv/fuzz-installed: .venv/dev-installed
	@$(INSTALL) '.[fuzz]' --only-binary atheris 2>/dev/null && touch $@ || true

.venv/docs-installed: setup.py setup.cfg pyproject.toml
	@echo "Setting up .venv with the tools for the site ..." >&2
	@$(MAKE) -s .venv-made
	@$(call quietly,$(INSTALL) '.[docs]')
	@touch $@ .venv/run-installed

# An environment that works is kept and brought up to date; a broken or half-made one is made anew.
.PHONY: .venv-made
.venv-made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null || { \
	  echo "raftline needs Python 3.10 or newer, and '$(PYTHON)' is not. Try: make run PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "'$(PYTHON)' lacks the venv module. On Debian or Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@$(PY) -m pip --version >/dev/null 2>&1 || { $(call quietly,$(PYTHON) -m venv --clear .venv); }

