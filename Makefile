# make demo   the whole recipe on synthetic speech: environment, run, summary
# make test   the tests
# make lint   format and lint of Python and of the workflow
# make benchmark-backend, benchmark-scale, benchmark-offline, benchmark-triage   the tables in benchmarks/results
# Each does all of its own set-up in $(VENV).

PYTHON ?= python3
VENV ?= .venv
CORES ?= all
TOOLKITS ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/spkdistill/toolkits
BIN := $(VENV)/bin
DEVICE := $(if $(shell command -v nvidia-smi 2>/dev/null),cuda,cpu)

.PHONY: demo test lint env benchmark-backend benchmark-scale benchmark-offline benchmark-triage clean
.DELETE_ON_ERROR:

demo: $(VENV)/.ready
	@$(BIN)/snakemake --cores $(CORES) --rerun-incomplete --show-failed-logs --quiet host reason
	@$(BIN)/spkdistill summary results/demo/report/summary.tsv --report results/demo/report/index.html

test: $(VENV)/.ready-test
	$(BIN)/pytest -n 2 --durations 15 -m "not workflow"
	$(BIN)/pytest -n 2 --durations 15 --dist loadgroup -m workflow

lint: $(VENV)/.ready-test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint

env: $(VENV)/.ready-test

$(VENV)/.ready: envs/$(DEVICE).txt envs/repair_torchaudio.py pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11 ...")'
	@echo "Creating the environment in $(VENV) ($(DEVICE)): a few minutes, once"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement envs/$(DEVICE).txt --editable .
	@$(BIN)/python envs/repair_torchaudio.py
	@touch $@

$(VENV)/.ready-test: $(VENV)/.ready envs/test.txt envs/cluster.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement envs/test.txt
	@touch $@

benchmark-backend: $(VENV)/.ready $(TOOLKITS)/.ready
	@for part in scoring training metrics files; do $(BIN)/python -m benchmarks.backend.$$part || exit 1; done
	@PYTHONPATH=$(TOOLKITS) $(BIN)/python -m benchmarks.backend.toolkits

benchmark-scale: $(VENV)/.ready-test
	@for part in stages dag disk; do $(BIN)/python -m benchmarks.scale.$$part || exit 1; done

benchmark-offline: $(VENV)/.ready
	@$(BIN)/python -m benchmarks.offline.training

benchmark-triage: $(VENV)/.ready
	@for part in losses caches; do $(BIN)/python -m benchmarks.triage.$$part || exit 1; done

$(TOOLKITS)/.ready: benchmarks/toolkits.txt | $(VENV)/.ready
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade --no-deps --target $(TOOLKITS) --requirement $<
	@touch $@

clean:
	rm -rf results/demo
