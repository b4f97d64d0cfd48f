# Every target sets up what it needs in .venv, from nothing but a python3 (3.11 or newer).
#
#   make demo    streams over real sockets, against a scripted API on a loopback port
#   make web     a page to talk to a model, on a loopback port: a scripted one, unless ARGS="--real"
#   make test    the tests, warnings as errors, on all cores
#   make coverage  the same with every line traced, and the coverage that is promised of every room
#   make check   linters and type checkers
#   make sdk     the official SDKs, a server of MCP, and the clients of pages, in .venv-sdk, for the tests and benchmarks
#                that use them
#   make test-httpx2   the tests that use httpx, with its fork httpx2 in its place
#   make test-ray   the tests that need Ray, with a Ray of their own in .venv-ray
#   make test-web   the page in headless Chromium, which has to be installed (chromium, chromium-driver), in .venv-web
#   make web-pictures  the pictures of the page in docs/web.md
#   make wheel   the wheel and the sdist, into dist
#   make dist-test  the wheel and the sdist, built, and the wheel used in an empty environment
#   make matrix  the tests on every supported Python that is here or that uv can fetch; ARGS="3.12 3.13" for some
#   make faults  every fault of the matrix, done to this library and to the official SDK: docs/reliability.md
#   make bench   this library beside the official SDK, httpx and bare socket loops: docs/performance.md
#                ARGS="--against CHECKOUT" compares with another version of this library instead
#   make bench-quick   the same in small, in less than a minute; writes nothing
#   make bench-web   what handing events on to tabs costs, beside other ways to do it: a section of docs/performance.md
#   make agents  agents beside the official SDK's tool runner: the table in docs/agents.md
#   make soak    the long form of the tests that are sampled in every run: cancellation, kills, quotas, random inputs
#   make fuzz    coverage-guided fuzzing, a minute for each target
#   make traces  an agent's trace in Arize Phoenix, in .venv-traces; ARGS="--picture FILE" or "--keep"
#   make accept  what is promised about money, done to a scripted API that keeps its own books; ARGS=--quick for less
#   make report  the picture of a report in docs/cli.md: a run is killed, goes on, and is drawn; needs Chromium
#   make prices  what differs between the built-in prices and the newest genai-prices, in .venv-prices
#   make docs    the documentation, warnings as errors, into docs/_build/html
#   make clean   removes what the others made

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
PYTEST := $(BIN)/python -m pytest --numprocesses=auto --dist=worksteal

# Where this is set, each of the hundreds of programs that the tests start would compile the library.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo web test coverage test-httpx2 test-ray test-web web-pictures wheel dist-test matrix check sdk faults bench bench-quick bench-web agents soak fuzz accept traces report prices docs format clean

demo: $(VENV)/.demo
	@$(BIN)/trio-stream demo

web: $(VENV)/.web
	@$(BIN)/trio-stream web $(ARGS)

test: $(VENV)/.dev
	$(PYTEST) $(ARGS)

# Without the tests that say that they are not traced: no line is theirs alone, and `make test` runs them.
coverage: $(VENV)/.dev
	$(BIN)/coverage erase
	$(PYTEST) -m 'not no_cover' --cov --cov-report= $(ARGS)
	$(BIN)/coverage report --omit='trio_stream/cli/*,trio_stream/ray/*' --fail-under=100 --skip-covered --show-missing
	$(BIN)/coverage report --include='trio_stream/cli/*' --fail-under=95 --skip-covered --show-missing

test-httpx2: $(VENV)/.dev
	$(PYTEST) -p tests.on_httpx2 \
		tests/http tests/client tests/stream tests/faults tests/testing $(ARGS)

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/flake8-async --disable=ASYNC127,ASYNC9 --startable-in-context-manager=serve_forever $$(find trio_stream examples -name '*.py')
	$(BIN)/mypy
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/pyright
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/pyright --verifytypes trio_stream --ignoreexternal

faults: $(VENV)/.dev $(VENV)-sdk/.sdk
	$(BIN)/python -m tests.faults.matrix $(ARGS)

bench: $(VENV)-bench/.bench $(VENV)-sdk/.sdk
	$(VENV)-bench/bin/python -m tests.bench $(ARGS)
	$(VENV)-bench/bin/python -m tests.bench.blocking

bench-quick: $(VENV)-bench/.bench $(VENV)-sdk/.sdk
	$(VENV)-bench/bin/python -m tests.bench --quick $(ARGS)

bench-web: $(VENV)/.dev
	$(PIP) install --group bench-web
	$(BIN)/python -m tests.bench.relay $(ARGS)

accept: $(VENV)/.dev
	$(BIN)/python -m tests.money.accept $(ARGS)

agents: $(VENV)-bench/.bench $(VENV)-sdk/.sdk
	$(VENV)-bench/bin/python -m tests.bench.agents $(ARGS)

soak: $(VENV)/.dev
	TRIO_STREAM_SOAK=1 $(BIN)/python -m pytest --timeout=3600 tests/soak tests/protocol tests/fuzz tests/stream/test_recorded.py \
		tests/agent tests/bench/test_lanes.py tests/batch/test_rate_control.py tests/batch/test_via_batch.py \
		tests/batch/test_via_batch_kills.py tests/cli/test_batch.py tests/cli/test_batch_resume.py tests/cli/test_daily.py \
		tests/web/test_every_cut.py tests/web/test_pages_of_runs.py tests/web/test_random_answers.py \
		tests/blocking/test_interrupts.py

fuzz: $(VENV)/.dev
	$(PIP) install --group fuzz
	$(BIN)/python -m tests.fuzz $(ARGS)

traces: $(VENV)-traces/.traces
	$(VENV)-traces/bin/python -m tests.traces $(ARGS)

$(VENV)-traces/.traces: pyproject.toml
	$(PYTHON) -m venv $(VENV)-traces
	$(VENV)-traces/bin/python -m pip --quiet --disable-pip-version-check install --upgrade 'pip>=25.1'
	$(VENV)-traces/bin/python -m pip --quiet --disable-pip-version-check install --editable '.[otel]' --group traces
	@touch $@

report: $(VENV)/.dev
	$(BIN)/python -m tests.report_picture $(ARGS)

# Always the newest: that is what the table is compared with.
prices:
	test -x $(VENV)-prices/bin/python || $(PYTHON) -m venv $(VENV)-prices
	$(VENV)-prices/bin/python -m pip --quiet --disable-pip-version-check install --upgrade --editable . genai-prices
	$(VENV)-prices/bin/python -m tests.money.compare

docs: $(VENV)/.dev
	$(BIN)/sphinx-build -W --keep-going -q -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

sdk: $(VENV)-sdk/.sdk $(VENV)-sdk/.npm

$(VENV)-sdk/.sdk: Makefile
	$(PYTHON) -m venv $(VENV)-sdk
	$(VENV)-sdk/bin/python -m pip --quiet --disable-pip-version-check install 'anthropic==2.14.0' trio msgspec
	@touch $@

# The one for TypeScript too, where there is an npm: its tool runner is tried on `trio-stream serve`. A server of MCP
# that is not made with the Python package. And the clients that pages use, which read what `trio_stream.web` sends.
$(VENV)-sdk/.npm: $(VENV)-sdk/.sdk
	if command -v npm >/dev/null; then npm install --silent --no-save --prefix $(VENV)-sdk \
		@anthropic-ai/sdk@1.14.0 @modelcontextprotocol/server-everything@2026.8.31 \
		ai@7.0.173 @ag-ui/client@1.0.0; fi
	@touch $@

# Without the extra `cli`: httpx imports rich and click where they are, and importing is measured.
$(VENV)-bench/.bench: pyproject.toml
	$(PYTHON) -m venv $(VENV)-bench
	$(VENV)-bench/bin/python -m pip --quiet --disable-pip-version-check install --upgrade 'pip>=25.1'
	$(VENV)-bench/bin/python -m pip --quiet --disable-pip-version-check install --editable . --group bench
	@touch $@

test-ray: $(VENV)-ray/.ray
	COVERAGE_FILE=.coverage-ray $(VENV)-ray/bin/python -m pytest tests/ray --cov --cov-report= $(ARGS)
	COVERAGE_FILE=.coverage-ray $(VENV)-ray/bin/coverage report --include='trio_stream/ray/*' --fail-under=95 --skip-covered --show-missing

test-web: $(VENV)-web/.web
	$(VENV)-web/bin/python -m pytest tests/browser $(ARGS)

web-pictures: $(VENV)-web/.web
	$(VENV)-web/bin/python -m tests.browser.pictures $(ARGS)

$(VENV)-web/.web: pyproject.toml
	$(PYTHON) -m venv $(VENV)-web
	$(VENV)-web/bin/python -m pip --quiet --disable-pip-version-check install --upgrade 'pip>=25.1'
	$(VENV)-web/bin/python -m pip --quiet --disable-pip-version-check install --editable '.[cli,web]' --group test --group browser
	@touch $@

wheel: $(VENV)/.dev
	$(PIP) install --group dist
	$(BIN)/python -m build --outdir dist .

dist-test: $(VENV)/.dev
	$(PIP) install --group dist
	$(BIN)/python -m tests.dist.wheel

matrix: $(VENV)/.dev
	$(PIP) install --group matrix
	$(BIN)/python -m tests.dist.versions $(ARGS)

$(VENV)-ray/.ray: pyproject.toml
	$(PYTHON) -m venv $(VENV)-ray
	$(VENV)-ray/bin/python -m pip --quiet --disable-pip-version-check install --upgrade 'pip>=25.1'
	$(VENV)-ray/bin/python -m pip --quiet --disable-pip-version-check install --editable '.[cli,ray]' --group test
	@touch $@

format: $(VENV)/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

$(VENV)/.pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "trio_stream needs Python 3.11 or newer; try: make PYTHON=python3.13 $(MAKECMDGOALS)")'
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --upgrade 'pip>=25.1'
	@touch $@

$(VENV)/.demo: $(VENV)/.pip pyproject.toml
	$(PIP) install --editable '.[cli]'
	@touch $@

$(VENV)/.web: $(VENV)/.demo pyproject.toml
	$(PIP) install --editable '.[web]'
	@touch $@

$(VENV)/.dev: $(VENV)/.demo pyproject.toml
	$(PIP) install --group dev
	@touch $@

clean:
	rm -rf $(VENV) $(VENV)-* dist docs/_build .coverage* .hypothesis .mypy_cache .pytest_cache \
		.ruff_cache
