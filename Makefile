# Each target makes .venv and installs what it needs, once; `make run` needs no test tools.
#   make run PORT=8001     another port than 8000
#   make run GPU=1         on an NVIDIA GPU; torch and FAISS for it go into .venv-gpu
#   make test PYTHON=python3.12 VENV=.venv312     another Python, in a folder of its own
VENV ?= $(if $(filter 1,$(GPU)),.venv-gpu,.venv)
export GPU

# Nothing here goes to the hub of models: the bundled one is in the repository.
export HF_HUB_OFFLINE := 1
# The theme's advice on its successor is not about our pages.
export NO_MKDOCS_2_WARNING := 1

python := $(VENV)/bin/python

.PHONY: run test check bench fuzz docs docker-check fairseq clean

run: $(VENV)/.ready
	$(python) -m bitext serve $(if $(PORT),--port $(PORT)) $(if $(filter 1,$(GPU)),--device cuda)

# a process a core, each with one thread: pools of threads on the same cores wait for one another
test: $(VENV)/.ready-test
	OMP_NUM_THREADS=1 $(python) -m pytest -q -n auto --dist loadfile

check: $(VENV)/.ready-check
	$(python) -m ruff format --check .
	$(python) -m ruff check .
	$(python) -m mypy
	$(python) -m pytest -q tests/test_layers.py
	$(python) -m mkdocs build --strict --quiet

bench: $(VENV)/.ready-bench
	set -e; for script in $(wildcard benchmarks/bench_*.py); do echo "== $$script"; $(python) $$script; done

# the whole service under requests that were never meant for it, made from its OpenAPI document
fuzz: $(VENV)/.ready-fuzz
	$(python) benchmarks/service/fuzz.py

docs: $(VENV)/.ready-docs
	$(python) -m mkdocs build --strict
	@echo "open site/index.html"

# image, compose, kills, backup: everything in docker/, with an engine that is there or installed for it
docker-check: $(VENV)/.ready-check
	@PYTHON=$(abspath $(python)) sh scripts/docker-check.sh

# data and a model to fairseq and back; it has an environment of its own, for it cannot share one
fairseq: $(VENV)/.ready
	@sh scripts/fairseq.sh .venv-fairseq
	@work=$$(mktemp -d) && PYTHON=$(abspath $(python)) sh scripts/fairseq-demo.sh .venv-fairseq $$work && rm -r $$work

clean:
	rm -rf $(VENV) .venv-fairseq site

$(VENV)/.ready: pyproject.toml constraints.txt $(wildcard scripts/*)
	@sh scripts/setup.sh $(VENV)
	@touch $@

$(VENV)/.ready-%: pyproject.toml constraints.txt $(wildcard scripts/*)
	@sh scripts/setup.sh $(VENV) $*
	@touch $@
