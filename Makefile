# Needs Python >= 3.11 and make; everything else is set up once, in .venv.
#   make demo                        the main job at small scale, results in runs/demo/
#   make demo ARGS="--seed 1"        options for `lameta demo`
#   make test | test-slow | lint | format | setup | clean
PYTHON  ?= python3
WORKERS ?= 2
ARGS    ?=

BIN   := .venv/bin
READY := .venv/.ready

# The weights come with the packages: nothing may be looked up on the network.
export HF_HUB_OFFLINE := 1
export TOKENIZERS_PARALLELISM := false
ifneq ($(wildcard ../shared/data/.),)
export LAMETA_DATA_DIR ?= $(abspath ../shared/data)
endif

# torch would start a thread per core in every test worker; jax shares the cores well enough by itself.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

.PHONY: demo test test-slow lint format setup clean
.DELETE_ON_ERROR:

demo: $(READY)
	@$(BIN)/lameta demo $(ARGS)

test: $(READY)
	@$(PYTEST) -m "not slow" $(ARGS)

test-slow: $(READY)
	@$(PYTEST) -m slow $(ARGS)

lint: $(READY)
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/pyright

format: $(READY)
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

setup: $(READY)

# The stamp is written last, and removed before an update: an interrupted set-up starts from scratch.
# Compiling every file of every package would take as long as the rest; Python compiles what it imports.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "$(PYTHON) is missing or older than Python 3.11; name another one: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "$(PYTHON) cannot make virtual environments: install its venv package (python3-venv)" >&2; exit 1; }
	@echo "Setting up .venv (once, about 3 minutes) ..." >&2
	@if [ -e $@ ]; then rm $@; else $(PYTHON) -m venv --clear .venv; fi
	@$(BIN)/python -m pip install --disable-pip-version-check --no-input --no-compile --progress-bar off \
	  -c constraints.txt -e '.[all,dev]' > .venv/setup.log 2>&1 || { \
	  grep '^ERROR' .venv/setup.log >&2; echo "Set-up failed; all of it in .venv/setup.log" >&2; exit 1; }
	@touch $@

clean:
	rm -rf .venv .pytest_cache .ruff_cache .hypothesis build dist
	find lameta_jax tests experiments notebooks -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
