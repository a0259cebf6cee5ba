# Everything runs in .venv, made from the locked requirements. `make` alone says what there is.

VENV := .venv
PYTHON := $(VENV)/bin/python
READY := $(VENV)/ready
READY_DEV := $(VENV)/ready-dev

.DEFAULT_GOAL := help
.PHONY: help setup run dev demo test fuzz bench bench-quick bench-history bench-what-if bench-tree hindsight lint format schemas lock clean

help: ## Show what there is to make
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY_DEV) ## Make .venv with what each of these needs (they do so themselves; make run needs less)

# The first Python that is new enough and can make a virtual environment is taken.
$(READY) $(READY_DEV): make_venv.py pyproject.toml requirements-build.txt requirements.txt
	@found=; seen=; \
	for python in python3 python3.13 python3.12 python3.11; do \
		$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue; \
		seen=$$python; \
		$$python -c 'import venv, ensurepip' 2>/dev/null || continue; \
		found=$$python; break; \
	done; \
	if [ -z "$$seen" ]; then \
		echo "No Python 3.11 or newer was found (tried python3, python3.13, python3.12, python3.11). Install one, then run make again." >&2; \
		exit 1; \
	fi; \
	if [ -z "$$found" ]; then \
		echo "$$seen is new enough, but its venv module is missing. On Debian and Ubuntu: apt-get install $$(basename $$seen)-venv. Then run make again." >&2; \
		exit 1; \
	fi; \
	exec $$found make_venv.py $(if $(filter $(READY),$@),run,dev)

$(READY_DEV): requirements-dev.txt

run: $(READY) ## Start PostgreSQL and the three services (LEDGER_HOME, by default .ledger, keeps the data)
	@exec $(VENV)/bin/ledger run

dev: $(READY) ## Start an ephemeral ledger for local work, empty again on exit (DEV="--demo" loads the sample)
	@exec $(VENV)/bin/ledger dev $(DEV)

demo: $(READY) ## Load the examples into a ledger that runs (see make run)
	@$(VENV)/bin/ledger demo

test: setup ## Run all tests (PYTEST="-k name" picks some)
	@$(PYTHON) -m pytest -n 2 $(PYTEST)

fuzz: setup ## Ask the services whatever their descriptions allow, 50,000 times (CASES, SEED)
	@LEDGER_TEST_API_CASES=$(or $(CASES),50000) LEDGER_TEST_API_SEED=$(or $(SEED),$(shell date +%s)) \
		$(PYTHON) -m pytest -s tests/system/test_openapi_conformance.py

bench: setup ## Measure the ledger beside its peers and limits, all in one run (BENCH="--only single", or see BENCH="--help")
	@$(PYTHON) -m benchmarks.bench $(BENCH)

bench-quick: setup ## The same in at most 8 minutes, with a shorter log
	@$(PYTHON) -m benchmarks.bench --quick $(BENCH)

bench-history: setup ## Measure what it costs to look back in a long log (BENCH="--quick", or see BENCH="--help")
	@$(PYTHON) -m benchmarks.history $(BENCH)

bench-what-if: setup ## Measure what-ifs over a million asks (BENCH, likewise)
	@$(PYTHON) -m benchmarks.what_if $(BENCH)

bench-tree: setup ## Measure what the tree costs those who record (BENCH, likewise)
	@$(PYTHON) -m benchmarks.tree $(BENCH)

hindsight: setup ## Ask random histories about their past, 10,000 of them (HISTORIES, SEED)
	@LEDGER_TEST_HISTORIES=$(or $(HISTORIES),10000) LEDGER_TEST_HISTORIES_SEED=$(or $(SEED),$(shell date +%s)) \
		$(PYTHON) -m pytest -n 2 tests/property/test_without_hindsight.py

lint: setup ## Check format, style, types and import rules
	@$(VENV)/bin/ruff format --check --quiet .
	@$(VENV)/bin/ruff check --quiet .
	@$(VENV)/bin/mypy --no-error-summary
	@$(VENV)/bin/lint-imports --no-logo >$(VENV)/import-rules.log || { cat $(VENV)/import-rules.log; exit 1; }

format: setup ## Write the files in the house format
	@$(VENV)/bin/ruff check --quiet --fix-only .
	@$(VENV)/bin/ruff format --quiet .

schemas: setup ## Make schemas/json from the event types
	@$(PYTHON) -m schemas.export

# --universal: one lock serves every platform and every Python that we support.
lock: setup ## Bring the locked requirements up to date
	@$(PYTHON) -m pip --disable-pip-version-check --no-input --quiet install uv
	@$(PYTHON) -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")' | \
		$(VENV)/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-header --no-annotate --output-file requirements-build.txt -
	@$(VENV)/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-header pyproject.toml --output-file requirements.txt
	@$(VENV)/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-header pyproject.toml --extra dev --constraint requirements.txt \
		--output-file requirements-dev.txt

clean: ## Remove what make has made (LEDGER_HOME is kept)
	@rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis *.egg-info build ledger_client/*.egg-info ledger_client/build
	@find benchmarks schemas services tests -name __pycache__ -type d -prune -exec rm -rf {} +
