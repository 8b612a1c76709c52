# Two commands do everything: `make run` and `make test`. Each sets up .venv by itself.
PYTHON ?= python3
PY := .venv/bin/python
SEEDS ?= 2000
CUTS ?= 10000

.DEFAULT_GOAL := help
.PHONY: help run test lint format api bench bench-peers judges load mutants power sim torture pictures browser database lock clean

help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: .venv/.runtime ## run the bot; if BOT_TOKEN is not set: a sandbox with a page to chat in (ARGS="--help" shows the settings)
	@$(PY) run.py --without-token=sandbox $(ARGS)

WITHIN_S ?= 2400
test: .venv/.dev browser database ## lint, and every test (ARGS="tests/test_run.py -x": only these; WITHIN_S: no longer than this)
	@$(PY) -m tests.parts --within $(WITHIN_S) $(ARGS)

lint: .venv/.dev ## formatting, lint, types, and who may import whom
	@.venv/bin/ruff format --check -q . && .venv/bin/ruff check -q .
	@.venv/bin/mypy .
	@.venv/bin/lint-imports >.venv/lint-imports.log 2>&1 || { cat .venv/lint-imports.log; exit 1; }

format: .venv/.dev ## format and mend what a machine can mend
	@.venv/bin/ruff check -q --fix . ; .venv/bin/ruff format -q .

bench: .venv/.dev ## speed and memory: medians of several runs, a table, and out/bench.json (beside aiogram: make bench-peers first)
	@$(PY) -m tests.bench $(ARGS)

bench-peers: .venv/.dev .venv-peers/.ready ## the same job through other frameworks, beside Chatlane (minutes); out/peers.json
	@$(PY) -m tests.peers $(ARGS)

JUDGES = aiogram pytelegrambotapi python-telegram-bot
GRAMMY = tests/judges/node_modules/.package-lock.json

judges: .venv/.dev $(JUDGES:%=.venv-judges/%/.ready) $(GRAMMY) ## other people's clients, unchanged, at the fake server: who objects to what
	@$(PY) -m tests.judges $(ARGS)

api: .venv/.dev ## make telegram/botapi/types.py and telegram/botapi/methods.py of the facts in telegram/botapi/schema.json
	@$(PY) -m telegram.botapi

load: .venv/.load ## load-test the bot, or your HANDLERS: a live view, a verdict and a report (ARGS="--help" shows the options)
	@$(PY) run.py load $(ARGS)

mutants: .venv/.dev ## take out one guard after the other: the tests must go red for each (an hour)
	@$(PY) -m tests.mutants $(ARGS)

power: .venv/.dev ## SQLite on a disk that loses what was not synced: CUTS=n power cuts
	@$(PY) -m tests.power --cuts $(CUTS) $(ARGS)

sim: .venv/.dev ## simulated faults on virtual time: SEEDS=n runs (ARGS="--replay SEED" shows one)
	@$(PY) -m tests.sim --seeds $(SEEDS) $(ARGS)

torture: .venv/.dev ## real processes: order and loss over HTTP, kills, SIGTERMs, a bad server, a storm of all, a survey (minutes)
	@$(PY) -m tests.torture $(ARGS)

pictures: browser ## take the pictures of the examples anew: docs/*.png
	@$(PY) -m tests.pictures

browser: .venv/.dev ## the Chromium that the page's test drives: installed from the distribution where we may
	@command -v chromium >/dev/null || command -v google-chrome >/dev/null || \
	  { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get -qq update && apt-get -qq install -y chromium >/dev/null; } || \
	  echo "no Chromium on PATH: the test of the sandbox's page will be skipped (install it: apt-get install chromium)"

database: ## the PostgreSQL server that tests start by themselves: installed from the distribution where we may
	@ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null || \
	  { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get -qq update && apt-get -qq install -y --no-install-recommends postgresql >/dev/null; } || \
	  echo "no PostgreSQL server here: its tests will be skipped (install it: apt-get install postgresql)"

COMPILE = .venv/bin/pip-compile -q $(LOCK_ARGS) --generate-hashes --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --strip-extras --no-header pyproject.toml
LOCK_ARGS ?= -U

lock: .venv/.dev ## pin the newest dependencies that pyproject.toml allows
	@.venv/bin/pip install -q pip-tools
	@$(COMPILE) -o requirements.lock
	@$(COMPILE) --extra postgres -c requirements.lock -o requirements-postgres.lock
	@$(COMPILE) --extra load -c requirements.lock -o requirements-load.lock
	@$(COMPILE) --extra socks -c requirements.lock -o requirements-socks.lock
	@$(COMPILE) --extra otel -c requirements.lock -o requirements-otel.lock
	@$(COMPILE) --extra load --extra otel --extra postgres --extra socks --extra dev -c requirements.lock -o requirements-dev.lock
	@$(subst pyproject.toml,tests/peers/requirements.in,$(COMPILE)) -o tests/peers/requirements.lock
	@for each in $(JUDGES); do echo $$each | $(subst pyproject.toml,-,$(COMPILE)) -c tests/peers/requirements.lock -o tests/judges/$$each.lock; done

clean: ## remove what the targets made (never a *.db)
	@rm -rf .venv .venv-peers .venv-judges tests/judges/node_modules .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis out

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Chatlane needs Python 3.11 or newer; name one: make PYTHON=python3.12 ..."; exit 2; }
	@$(PYTHON) -m venv .venv

.venv/.runtime: requirements.lock | .venv/bin/python
	@echo "setting up .venv (once) ..." && $(PY) -m pip install -q --disable-pip-version-check --require-hashes -r requirements.lock && touch $@

.venv/.load: requirements-load.lock | .venv/.runtime
	@echo "setting up .venv for load tests (once) ..." && $(PY) -m pip install -q --disable-pip-version-check --require-hashes -r requirements-load.lock && touch $@

.venv-peers/.ready: tests/peers/requirements.lock | .venv/bin/python
	@echo "setting up .venv-peers (once) ..." && $(PYTHON) -m venv .venv-peers
	@.venv-peers/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r $< && touch $@

.venv-judges/%/.ready: tests/judges/%.lock | .venv/bin/python
	@echo "setting up .venv-judges/$* (once) ..." && $(PYTHON) -m venv .venv-judges/$*
	@.venv-judges/$*/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r $< && touch $@

$(GRAMMY): tests/judges/package-lock.json
	@if command -v npm >/dev/null; then echo "setting up grammY (once) ..." && \
	  { npm ci --silent --no-fund --no-audit --fetch-retries=1 --prefix tests/judges && touch $@; } || echo "npm cannot install grammY: it will be skipped"; \
	else echo "no npm: grammY will be skipped"; fi

.venv/.dev: requirements-dev.lock | .venv/.runtime
	@echo "setting up .venv for development (once) ..." && $(PY) -m pip install -q --disable-pip-version-check --require-hashes -r requirements-dev.lock && touch $@
