# Everything a checkout needs. `make run` and `make test` work on a machine with only Python, pip and make.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# Processes that test side by side, a file each. Most tests wait for other processes, so two cores carry two well.
TESTERS ?= 2

.DEFAULT_GOAL := help
.PHONY: help install install-dev run test check lint types bench docs fuzz requirements clean

help: ## Show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

# Debian's python3 may come without ensurepip; virtualenv from PyPI then does the same.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Hashwerk needs Python 3.11 or newer; $$($(PYTHON) --version) was found. Name another: make PYTHON=python3.12 …"; exit 1; }
	$(PYTHON) -m venv $(VENV) 2>/dev/null \
	  || { rm -rf $(VENV); $(PYTHON) -m pip install --user --quiet --break-system-packages virtualenv 2>/dev/null \
	       || $(PYTHON) -m pip install --user --quiet virtualenv; $(PYTHON) -m virtualenv --quiet $(VENV); }

$(VENV)/.run: requirements/run.txt pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --only-binary :all: --require-hashes -r requirements/build.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --only-binary :all: --require-hashes -r requirements/run.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: requirements/dev.txt $(VENV)/.run
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --only-binary :all: --require-hashes -r requirements/dev.txt
	@touch $@

install: $(VENV)/.run ## Create the environment in .venv and install what the mine needs
install-dev: $(VENV)/.dev ## …and what development needs

run: install ## Start the mine on its built-in defaults and print the page's URL
	@exec $(BIN)/hashwerk run

test: install-dev ## Run the whole test suite
	$(BIN)/python -m pytest --numprocesses $(TESTERS) --dist loadfile

lint: install-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: install-dev
	$(BIN)/mypy

check: lint types test docs ## All that CI does

bench: install ## Print the speed of the kernels and of the Stratum server
	$(BIN)/hashwerk bench hash
	$(BIN)/hashwerk bench stratum

docs: install-dev ## Build the documentation, warnings are errors
	$(BIN)/sphinx-build -q -W --keep-going -b html docs docs/_build/html

fuzz: install-dev ## Fuzz the Stratum protocol cores for ten minutes
	$(BIN)/python tests/fuzz/fuzz_stratum_v1.py -max_total_time=600 tests/fuzz/corpus/stratum_v1

requirements: ## Compile the pinned, hashed requirement files anew (needs uv on the PATH)
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --only-binary :all: --extra dev --extra docs --extra fuzz --extra entsoe pyproject.toml -o requirements/dev.txt
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --only-binary :all: -c requirements/dev.txt pyproject.toml -o requirements/run.txt
	printf "hatchling\neditables\n" | uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --only-binary :all: - -o requirements/build.txt

clean: ## Remove the environment and all that was built
	rm -rf $(VENV) docs/_build .pytest_cache .mypy_cache .ruff_cache
