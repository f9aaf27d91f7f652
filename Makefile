# `make` prints the list of targets. Everything runs from .venv, which is made where needed.
PYTHON ?= python3
PY := .venv/bin/python
SEED ?= 7
MINUTES ?= 60
WORKERS ?= 2
# Tests of real nodes wait much, for elections and for timers. A worker takes neighbours, which
# share the nodes of their file.
NODE_WORKERS ?= 4
ONLY ?=
T ?=
# Of the real processes, on a compiled wheel: a slice.
WHEEL_TESTS = tests/processes/test_recording.py tests/processes/test_history.py \
  tests/processes/test_004_wire.py tests/processes/test_snapshots.py
WITH_DOCKER ?=
CODE := src testing course tests bench docs integrations
MAKEFLAGS += --no-print-directory
TESTS = $(PY) -m pytest -q --progress -o console_output_style=classic -n $(WORKERS)
# By another name: make -n carries out the lines that name $(MAKE) itself, and would start the nodes.
SET_UP = $(MAKE)

.PHONY: help run test test-rest test-nightly test-all check lint types spelling format sizes
.PHONY: sim sim-long view-test fuzz attacks crowd nemesis watchers holders monitoring-test mutants nightly accept labs handout container-test kubernetes-test release clean
.PHONY: patroni-test integrations-test tooz-test dogpile-test wheel wheels test-wheel test-sanitized bench bench-quick bench-growth bench-table soak profile slow-ways pictures view-picture learn docs
.DELETE_ON_ERROR:

help: ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## /\1\t/p' Makefile | awk -F '\t' '{ printf "  make %-14s %s\n", $$1, $$2 }'

# Where nothing can be installed (no network, no venv module) the cluster runs all the same: the
# nodes and the client need the standard library alone. What the set-up said stands above.
run: ## three nodes on ports 10000-10002 and a client; reads commands from a pipe, too
	@trap 'exit 130' INT; \
	if $(SET_UP) -s .venv/run-installed 1>&2 </dev/null; then exec $(PY) -m raftline up --client; \
	elif $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then \
	  echo "The set-up failed (see above); going on with $(PYTHON) alone." >&2; \
	  exec $(PYTHON) src/cli.py up --client; \
	else exit 1; fi

test: .venv/dev-installed ## the quick tests, within two minutes; by a word: make test T=election
	@$(TESTS) $(if $(T),-k '$(T)',--lane quick)

test-rest: .venv/dev-installed ## the tests that `make test` leaves out
	@$(MAKE) -s .venv/fuzz-installed
	@$(TESTS) -n $(NODE_WORKERS) --dist worksteal --lane rest

test-nightly: .venv/dev-installed ## the tests that are left to `make nightly`, and properties with new examples
	@$(TESTS) --lane nightly; status=$$?; \
	  $(TESTS) --hypothesis-profile night -m hypothesis && exit $$status

test-all: .venv/dev-installed ## every test but the night's, in a quarter of an hour
	@$(TESTS)

check: lint types spelling ## lint, types and spelling

lint: .venv/dev-installed ## ruff, and its format
	@$(PY) -m ruff check $(CODE)
	@$(PY) -m ruff format --check --quiet $(CODE) || { echo "make format puts that right" >&2; exit 1; }

spelling: .venv/dev-installed ## common misspellings in code and pages, by codespell
	@$(PY) -m codespell_lib

format: .venv/dev-installed ## put the code into the one format
	@$(PY) -m ruff format $(CODE)

# Type checkers and editors name a package after its folder, so they see src/ through a link.
build/typing/raftline:
	@mkdir -p build/typing && ln -sfn ../../src $@
	@ln -sfn ../../course/raftline_course build/typing/raftline_course
	@ln -sfn ../../testing/raftline_testing build/typing/raftline_testing

types: .venv/dev-installed build/typing/raftline ## mypy --strict
	@(cd build/typing && MYPYPATH=. ../../$(PY) -m mypy --config-file ../../pyproject.toml \
	  -p raftline -p raftline_testing -p raftline_course) >build/types.txt 2>&1; status=$$?; \
	  sed 's#^raftline/#src/#;s#^raftline_course/#course/&#;s#^raftline_testing/#testing/&#' build/types.txt; exit $$status
	@MYPYPATH=bench:build/typing $(PY) -m mypy --config-file pyproject.toml bench/*.py

sizes: ## the longest files of the store, its harness and the course, in lines; a report, no limit
	@find src testing course -name '*.py' -exec wc -l {} + | sort -rn | sed -n '2,21p'

sim: .venv/dev-installed ## one simulated schedule: faults, changes of members: make sim SEED=7 [PICTURE=seed.html]
	@$(PY) testing/raftline_testing/virtual/simulate.py --seed $(SEED) $(if $(PICTURE),--picture $(PICTURE))

# On what `make simulation` built, if that is there; then it is brought up to date before.
sim-long: .venv/dev-installed $(wildcard build/simulation) ## simulated schedules until you stop it, or: make sim-long MINUTES=30 WORKERS=4
	@$(PY) $(if $(wildcard build/simulation),build/simulation,testing)/raftline_testing/virtual/simulate.py --workers $(WORKERS) \
	  $(if $(filter-out file,$(origin MINUTES)),--minutes $(MINUTES),--forever)

.PHONY: simulation
simulation: build/simulation ## compile the virtual world, for twice as many schedules (C compiler, 5 minutes)

build/simulation: .venv/dev-installed $(wildcard src/*.py src/*/*.py src/*/*/*.py testing/*/*.py testing/*/*/*.py)
	@echo "Compiling the virtual world ..." >&2
	@mkdir -p build && rm -rf $@ $@.part
	@$(call quietly,$(PY) -m raftline_testing.virtual.compile $@.part) && mv $@.part $@

# Files whose tests take a minute in WebAssembly, and show most of what the rest would show.
PYODIDE_SLICE = tests/transcripts tests/core/test_election.py tests/core/test_membership.py tests/core/test_messages.py \
  tests/core/test_parsing.py tests/core/test_store.py tests/virtual/test_rare_faults.py
PYODIDE_TESTS = $(if $(SLICE),$(PYODIDE_SLICE),tests/core tests/transcripts tests/virtual)
.PHONY: pyodide-test
pyodide-test: ## the tests that need no operating system, on CPython 3.14 in WebAssembly (node, npm): make pyodide-test [SLICE=1]
	@if command -v node npm >/dev/null; then $(MAKE) -s build/pyodide/installed && \
	  node testing/pyodide/run.mjs build/pyodide -q -rs --lane quick $(if $(T),-k '$(T)') $(PYODIDE_TESTS); \
	else echo "skipped: CPython in WebAssembly needs node and npm, which are not here" >&2; fi

build/pyodide/installed: testing/pyodide/package-lock.json testing/pyodide/requirements.txt | .venv/run-installed
	@echo "Fetching CPython 3.14 for WebAssembly ..." >&2
	@rm -rf build/pyodide && mkdir -p build/pyodide
	@cp testing/pyodide/package.json testing/pyodide/package-lock.json build/pyodide
	@$(call quietly,npm ci --prefix build/pyodide)
	@$(call quietly,$(PY) -m pip download --quiet --no-deps --only-binary :all: --python-version 3.14 \
	  --implementation cp --abi cp314 --platform pyemscripten_2026_0_wasm32 \
	  --dest build/pyodide/wheels -r testing/pyodide/requirements.txt)
	@touch $@

.PHONY: explore explore-night
explore-night: .venv/dev-installed
	@$(PY) -m raftline_testing.explore --night --workers $(WORKERS) --minutes 85

explore: .venv/dev-installed ## all orders of a small world of the core: make explore [BUDGET="timeout crash"] [NODES=3] [SECONDS=60] [ENDS=1] [NAMES=1] [REPLAY=trace.txt]
	@$(PY) -m raftline_testing.explore $(if $(REPLAY),--replay '$(REPLAY)') $(if $(BUDGET),'$(BUDGET)' --servers $(or $(NODES),3)) $(if $(SECONDS),--seconds $(SECONDS)) $(if $(ENDS),--ends) $(if $(NAMES),--names)

view-test: .venv/dev-installed ## the picture in a real browser: Debian's chromium and chromium-driver
	@$(PY) -m pytest -q -rs tests/processes/test_view_browser.py

nemesis: .venv/run-installed ## an hour of faults on real nodes: make nemesis [MINUTES=60] [SEED=3]
	@$(PY) testing/raftline_testing/nemesis/run_nemesis.py --minutes $(MINUTES) \
	  $(if $(filter-out file,$(origin SEED)),--seed $(SEED))

watchers: .venv/dev-installed ## watchers that move between nodes under faults: make watchers [MINUTES=60] [SEED=3]
	@$(PY) -m raftline_testing.nemesis.watching $$(( $(MINUTES) * 60 )) $(if $(filter-out file,$(origin SEED)),$(SEED))

holders: .venv/dev-installed ## holders of leases under faults, with pauses of up to 30 s: make holders [MINUTES=60] [SEED=3]
	@$(PY) -m raftline_testing.nemesis.holding $$(( $(MINUTES) * 60 )) $(if $(filter-out file,$(origin SEED)),$(SEED))

fuzz: .venv/dev-installed ## lines, proofs, logins, TLS and files of a fuzzer: make fuzz [MINUTES=60] [SEED=3]
	@$(MAKE) -s .venv/fuzz-installed
	@$(PY) -m tests.fuzz --minutes $(MINUTES) --workers $(WORKERS) \
	  $(if $(filter-out file,$(origin SEED)),--seed $(SEED))

attacks: .venv/dev-installed ## all attacks at once on real nodes, with users at work beside them: make attacks [MINUTES=60]
	@mkdir -p build && $(PY) -m raftline_testing.attacks --minutes $(MINUTES) --report build/attacks.json

crowd: .venv/dev-installed ## connections that send far ahead, beside one client that does not: make crowd [MINUTES=1]
	@$(PY) -m raftline_testing.attacks.crowd --minutes $(if $(filter-out file,$(origin MINUTES)),$(MINUTES),1)

monitoring-test: .venv/dev-installed ## /metrics, the dashboard's queries and the alarms with Debian's Prometheus
	@$(PY) -m pytest -q -rs tests/processes/test_monitoring.py tests/processes/test_dashboard.py

# What systemd-nspawn leaves is empty groups; all else is gone with the namespaces.
.PHONY: hosts-test
hosts-test: .venv/dev-installed build/hosts/base ## the page for three hosts, on Debians with a systemd each: make hosts-test [OLD=COMMIT] (root, systemd-nspawn)
	@rm -rf build/hosts/run && mkdir -p build/hosts/run
	@unshare --pid --fork --kill-child --mount --mount-proc $(PY) -u -m raftline_testing.hosts.run_hosts \
	  build/hosts/base build/hosts/run $(OLD) >build/hosts/report.txt 2>&1; status=$$?; rm -rf build/hosts/run; \
	  find /sys/fs/cgroup -depth -path '*/raftline-hosts*' -type d -exec rmdir {} + 2>/dev/null; \
	  tail -n $$([ $$status = 0 ] && echo 1 || echo 60) build/hosts/report.txt; exit $$status

HOST_PACKAGES = systemd,systemd-sysv,dbus,nftables,openssh-server,python3-venv,curl,cron,iproute2,procps
build/hosts/base:
	@echo "Making a Debian for the hosts ..." >&2
	@mkdir -p build/hosts && rm -rf $@.part
	@$(call quietly,debootstrap --variant=minbase --include=$(HOST_PACKAGES) bookworm $@.part) && mv $@.part $@

mutants: .venv/dev-installed ## one-line faults, each of which a test must notice (docs/develop/testing.md)
	@$(PY) testing/raftline_testing/mutants/run.py -j $(WORKERS) $(if $(ONLY),--only $(ONLY),--page build/mutants.md)

nightly: .venv/dev-installed ## the campaigns, one after the other: sim-long, test-nightly, explore-night, nemesis, mutants, labs, grade-test, bench
	@$(PY) testing/raftline_testing/runner/nightly.py

accept: .venv/dev-installed ## rewrite what the transcripts expect; review the diff as code
	@$(PY) -m pytest -q tests/transcripts --accept

pictures: .venv/dev-installed ## draw the pictures of the tutorial from a new run
	@$(PY) docs/pictures/make.py

learn: .venv/dev-installed ## draw the six runs of docs/learn anew from their transcripts
	@for run in docs/learn/*.txt; do $(PY) -m raftline picture $$run --out $${run%.txt}.html || exit 1; done

docs: .venv/docs-installed ## the pages and the API reference as a site with search, in build/site
	@rm -rf build/site && $(PY) -m sphinx -q -W --keep-going -E -j auto -b html -c docs/site -d build/site-doctrees \
	  . build/site
	@$(PY) docs/site/check.py build/site

view-picture: .venv/dev-installed ## photograph the view for the README (Debian's chromium and chromium-driver)
	@$(PY) docs/pictures/view.py

labs handout: ## the course: every lab, checked; what students get of one; more: make -C course
	@$(MAKE) -C course $@

lab-%:
	@$(MAKE) -C course $@

# WITH_DOCKER is a command that runs what follows it where a Docker engine answers.
container-test: .venv/dev-installed ## three nodes with TLS in containers that are not the course's (needs Docker)
	@$(WITH_DOCKER) sh deploy/container/check.sh

kubernetes-test: ## the Kubernetes files against its schemas (needs kubectl and kubernetes-validate)
	@sh deploy/kubernetes/check.sh

# The wheel is built from the sdist, in an environment that is made for it.
release: .venv/release-installed ## build into dist/ and check: sdist, wheel, and the course's wheel, of one version
	@$(PY) deploy/git_version.py
	@mkdir -p build && rm -rf dist && $(PY) -m build --outdir dist . >build/release.txt 2>&1 || { cat build/release.txt >&2; exit 1; }
	@$(MAKE) -C course wheel ISOLATED=1
	@$(PY) -m twine check --strict dist/*

# pip finds an upgrade in a folder as in an index; the version grows with each commit.
EXTRAS ?= users,certs
.PHONY: wheelhouse
wheelhouse: .venv/run-installed ## a folder that hosts install from without an index: compiled wheel, and what it needs
	@$(PY) deploy/git_version.py
	@$(call quietly,$(call compiled,$(PY) -m pip wheel --quiet --wheel-dir build/wheelhouse '.[$(EXTRAS)]'))

# The Python of the set-up alone; `make wheels` has one made for each Python that is installed.
wheel: .venv/dev-installed ## build a wheel with the compiled core for this Python into dist/
	@$(call compiled,$(PY) -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .)

wheels: ## the same for each Python from 3.10 to 3.14 that is here; needs the network
	@for python in python3.10 python3.11 python3.12 python3.13 python3.14; do \
	  "$$python" -c 0 2>/dev/null || { echo "$$python is not here; going on without it" >&2; continue; }; \
	  echo "$$python"; $(call compiled,"$$python" -m pip wheel --quiet --no-deps --wheel-dir dist .) || exit 1; \
	done

test-wheel: build/wheel-env ## the quick tests on a compiled wheel
	@build/wheel-env/bin/python -m pytest -q --progress -o console_output_style=classic -o 'pythonpath=. testing course' \
	  -n $(WORKERS) --lane quick tests/core tests/transcripts tests/virtual tests/rim \
	  --ignore-glob='tests/*/test_kv_*' --ignore-glob='tests/rim/test_*_suite*' tests/processes/test_smoke.py
	@build/wheel-env/bin/python -m pytest -q -o 'pythonpath=. testing course' -n $(WORKERS) $(WHEEL_TESTS)

# The sanitizers belong into the process from its start. Python's own allocator and what Python keeps
# to its end would hide errors, and look like some.
SANITIZED = LD_PRELOAD="$$($(CC) -print-file-name=libasan.so) $$($(CC) -print-file-name=libubsan.so)" \
  ASAN_OPTIONS=detect_leaks=0:log_path=$(CURDIR)/build/sanitized/report PYTHONMALLOC=malloc \
  UBSAN_OPTIONS=print_stacktrace=1:log_path=$(CURDIR)/build/sanitized/report

test-sanitized: build/sanitized-env ## tests on a compiled wheel with gcc's address and undefined sanitizers
	@rm -f build/sanitized/report*
	@$(SANITIZED) build/sanitized-env/bin/python -m pytest -q --progress -o console_output_style=classic \
	  -o 'pythonpath=. testing course' -n $(WORKERS) --lane quick tests/core tests/transcripts tests/virtual tests/rim
	@for report in build/sanitized/report*; do \
	  [ ! -e "$$report" ] || { cat build/sanitized/report* >&2; exit 1; }; done

# Compiled for tests, so little optimized. What it needs for tests is that of .venv.
build/sanitized-env: private export CFLAGS = -g -fno-omit-frame-pointer -fsanitize=address,undefined
build/sanitized-env: private export LDFLAGS = -fsanitize=address,undefined
build/wheel-env build/sanitized-env: .venv/dev-installed setup.py $(wildcard src/*.py src/*/*.py src/*/*/*.py)
	@echo "Compiling a wheel for the tests ..." >&2
	@rm -rf $@ $(@:-env=) && export RAFTLINE_OPTIMIZE=$${RAFTLINE_OPTIMIZE-1}; \
	  $(call compiled,$(PY) -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir $(@:-env=) .)
	@$(PYTHON) -m venv $@ && $@/bin/python -m pip install --quiet --no-deps --no-index $(@:-env=)/*.whl
	@$(PY) -c 'import site; print(site.getsitepackages()[0])' >"$$($@/bin/python -c 'import site; print(site.getsitepackages()[0])')/venv.pth"

# PostgreSQL refuses to run as root, and its user can't reach a Python in root's home folder.
PATRONI_PYTHON ?= $(or $(wildcard /usr/bin/python3),$(PYTHON))
PATRONI_PY = build/patroni-env/bin/python

patroni-test: build/patroni-env ## Patroni with PostgreSQL on real nodes, in five minutes (integrations/patroni)
	@$(PATRONI_PY) -m pytest -c integrations/patroni/pyproject.toml --rootdir integrations/patroni \
	  $(if $(T),-k '$(T)') integrations/patroni/tests

# Built from a copy, so that nothing is left beside the source.
build/patroni-env: setup.py $(wildcard integrations/patroni/*.toml integrations/patroni/[pr]*/*.py)
	@echo "Setting up Patroni for its tests ..." >&2
	@[ -x $(PATRONI_PY) ] || { $(call quietly,$(PATRONI_PYTHON) -m venv $@); }
	@rm -rf build/patroni-package && cp -r integrations/patroni build/patroni-package
	@$(call quietly,$(subst $(PY),$(PATRONI_PY),$(INSTALL)) '.[users]' 'patroni[psycopg3]==4.1.*' pytest pytest-timeout \
	  behave coverage)
	@$(call quietly,$(PATRONI_PY) -m pip install --quiet --no-deps --force-reinstall build/patroni-package)
	@touch $@

integrations-test: ## a slice of tooz's and dogpile's own suites, in half a minute
	@$(MAKE) tooz-test T='leave_group or run_for_election or lock_context'
	@$(MAKE) dogpile-test T='TestMutexes or TestValues and not threaded'

tooz-test dogpile-test: %-test: build/%-env ## the other project's own suite, on real nodes: make tooz-test [NEMESIS=1]
	@PYTHONPATH=testing:course:. build/$*-env/bin/python -m pytest -c integrations/$*/pyproject.toml --rootdir integrations/$* \
	  -W ignore $(if $(T),-k '$(T)') integrations/$*/tests

build/tooz-env build/dogpile-env: build/%-env: $(wildcard integrations/tooz/*.toml integrations/tooz/r*/*.py integrations/dogpile/*.toml integrations/dogpile/r*/*.py)
	@echo "Setting up $* for its tests ..." >&2
	@[ -x $@/bin/python ] || { $(call quietly,$(PYTHON) -m venv $@); }
	@rm -rf build/$*-package && cp -r integrations/$* build/$*-package
	@$(call quietly,$(subst $(PY),$@/bin/python,$(INSTALL)) . $(SUITE_OF_$*) pytest)
	@$(call quietly,$@/bin/python -m pip install --quiet --no-deps --force-reinstall build/$*-package)
	@touch $@

# What the suites import beside their project.
SUITE_OF_tooz = 'tooz>=9.1,<10' testtools fixtures etcd3gw pymemcache redis sysv_ipc  # all that its tests import
SUITE_OF_dogpile = 'dogpile.cache>=1.5,<2'

clean: ## remove everything that was made, except the nodes' files in logs/
	@rm -rf .venv build dist *.egg-info src/*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find src testing course tests -name __pycache__ -type d -prune -exec rm -rf {} +

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
	@touch $@ .venv/run-installed

.venv/release-installed: setup.py setup.cfg pyproject.toml
	@echo "Setting up .venv with the tools for a release ..." >&2
	@$(MAKE) -s .venv-made
	@$(call quietly,$(INSTALL) '.[release]')
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

bench: .venv/bench-installed build/loadgen build/delay ## raftline and others side by side (20 minutes)
	@$(PY) bench/run.py

bench-quick: .venv/run-installed build/loadgen ## the same in three minutes: fewer rows and systems
	@$(PY) bench/run.py --quick

bench-growth: .venv/bench-installed build/loadgen build/delay ## how the figures change with size and faults (an hour)
	@$(PY) bench/growth.py

soak: .venv/run-installed build/loadgen ## half of the load for long, and what grows: make soak [MINUTES=60]
	@$(PY) bench/soak.py --minutes $(MINUTES)

bench-table: .venv/bench-installed ## put the newest results and their picture into both READMEs
	@$(PY) bench/table.py

profile: .venv/bench-installed build/loadgen ## where a node's time goes under load, thread by thread
	@$(PY) bench/threads.py

slow-ways: .venv/dev-installed build/loadgen ## what of a request the compiled wheel still leaves to the interpreter
	@$(PY) bench/slow_ways.py

build/loadgen: $(addprefix bench/,loadgen.c options.c spoken.c cpu_time.c tls.c options.h spoken.h cpu_time.h tls.h)
build/delay: bench/delay.c
build/loadgen build/delay:
	@command -v $(CC) >/dev/null || { echo "'$(CC)' is missing, which builds the load generator. On Debian" \
	  "or Ubuntu: apt-get install gcc libc6-dev" >&2; exit 1; }
	@mkdir -p build && $(CC) -O2 -std=gnu11 -Wall -Wextra -o $@.$$$$ $(filter %.c,$^) -ldl && mv $@.$$$$ $@

.venv/bench-installed: setup.py setup.cfg pyproject.toml
	@echo "Setting up .venv with the tools for measuring ..." >&2
	@$(MAKE) -s .venv-made
	@$(call quietly,$(INSTALL) '.[bench]')
	@touch $@ .venv/run-installed
