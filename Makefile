# Each target makes .venv and installs what it needs, once; `make run` needs no test tools.
VENV ?= .venv
HOST ?= 127.0.0.1
PORT ?= 8000

# Nothing here goes to the hub of models: the bundled one is in the repository.
export HF_HUB_OFFLINE := 1

python := $(VENV)/bin/python

.PHONY: run test check bench docs clean

run: $(VENV)/.ready
	$(python) -m bitext serve --host $(HOST) --port $(PORT)

test: $(VENV)/.ready-test
	$(python) -m pytest -q

check: $(VENV)/.ready-check
	$(python) -m ruff format --check .
	$(python) -m ruff check .
	$(python) -m mypy
	$(python) -m pytest -q tests/test_layers.py
	$(python) -m mkdocs build --strict --quiet

bench: $(VENV)/.ready
	for script in benchmarks/[a-z]*.py; do echo "== $$script" && $(python) $$script || exit 1; done

docs: $(VENV)/.ready-docs
	$(python) -m mkdocs build --strict
	@echo "open site/index.html"

clean:
	rm -rf $(VENV) site

$(VENV)/.ready: pyproject.toml constraints.txt scripts/setup.sh
	sh scripts/setup.sh $(VENV)
	@touch $@

$(VENV)/.ready-%: pyproject.toml constraints.txt scripts/setup.sh
	sh scripts/setup.sh $(VENV) $*
	@touch $@
