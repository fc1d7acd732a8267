# The whole workflow: `make run`, `make check`, `make test`.

PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 || echo python3)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.set-up

ROOMS := listbridge services wsdl ftp_server jobs audience exchange delivery console db
CODE := $(ROOMS) tests $(wildcard benchmarks)

# The settings of ruff; it reads them from nowhere else.
STYLE := --line-length 120 --target-version py311
RULES := E,F,W,I,UP,B,C4,SIM,RUF,PTH,RET,PIE,N,A,S
IGNORED := S101,S603,S607,S104,S608,A002,A005,RUF001,RUF002,RUF003,N818

# Tests make up passwords, roll dice and speak FTP.
EXCEPT := --per-file-ignores 'tests/*:S105,tests/*:S106,tests/*:S107,tests/*:S311,tests/*:S321'

# How many test processes run at once.
JOBS ?= 2

.DEFAULT_GOAL := help

.PHONY: help
help: ## Show what can be made.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: $(STAMP) ## Make the virtual environment .venv with everything in it.

$(STAMP): setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' || \
		{ echo "Python 3.11, 3.12 or 3.13 is needed; name it with PYTHON=..., for example: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "This Python cannot make virtual environments: its modules venv and ensurepip are missing." >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

.PHONY: run
run: setup ## Set up and start the server; the first start makes a demo account.
	@$(BIN)/listbridge init
	@exec $(BIN)/listbridge serve

.PHONY: demo
demo: setup ## Show the main job end to end on a temporary server.
	@$(BIN)/listbridge demo

.PHONY: check
check: setup ## Check format, style, types, layering and documentation.
	$(BIN)/ruff format --check --quiet $(STYLE) $(CODE)
	$(BIN)/ruff check --quiet $(STYLE) --select $(RULES) --ignore $(IGNORED) $(EXCEPT) $(CODE)
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest --quiet --no-header -p no:cacheprovider tests/unit/listbridge/test_docs.py

.PHONY: format
format: setup ## Format the code, and repair what can be repaired by itself.
	$(BIN)/ruff format $(STYLE) $(CODE)
	$(BIN)/ruff check --fix $(STYLE) --select $(RULES) --ignore $(IGNORED) $(EXCEPT) $(CODE)

.PHONY: test
test: setup ## Run the whole suite, on SQLite and PostgreSQL.
	$(BIN)/pytest -n $(JOBS)

.PHONY: coverage
coverage: setup ## Run the whole suite, more slowly, and report the coverage.
	$(BIN)/pytest -n $(JOBS) $(addprefix --cov=,$(ROOMS)) --cov-branch --cov-report=term:skip-covered

.PHONY: torture
torture: setup ## Kill the server at random moments, many times.
	$(BIN)/pytest -m torture

# Tests whose message centre is one of the foreign programs; `make test` leaves them out where it is missing.
MESSAGE_CENTRE = $(shell grep -l '^from message_centre import' tests/*/test_*.py tests/unit/*/test_*.py)

.PHONY: interop
interop: setup ## Install the foreign clients and run the tests with all of them.
	sh tests/interop/install.sh
	LISTBRIDGE_INTEROP=required $(BIN)/pytest -n $(JOBS) tests/interop $(MESSAGE_CENTRE)

.PHONY: versions
versions: ## Run the tests on each other supported version of Python that is there.
	sh .ci/versions

.PHONY: bench
bench: setup ## Measure imports and exports beside their floor, transfers, SOAP calls and mails beside others.
	$(BIN)/python -m benchmarks.import_rows
	$(BIN)/python -m benchmarks.export_rows
	$(BIN)/python -m benchmarks.ftp_transfer
	$(BIN)/python -m benchmarks.soap_calls
	$(BIN)/python -m benchmarks.render_mail
	$(BIN)/python -m benchmarks.send_mail
	$(BIN)/python -m benchmarks.tracking

.PHONY: clean
clean: ## Remove the virtual environment and caches; data in ./var stays.
	rm -rf $(VENV) .venv-* .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage *.egg-info
