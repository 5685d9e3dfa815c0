# Every target does its own set-up: nothing needs to be installed before but make, and Python 3.10 to 3.13.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:

# The first interpreter that runs, is of a supported version and can make a virtual environment (a shim may do none).
PYTHON ?= $(shell for python in python3.13 python3.12 python3.11 python3.10 python3; do \
	"$$python" -c 'import sys, venv, ensurepip; sys.exit(not (3, 10) <= sys.version_info[:2] < (3, 14))' \
	>/dev/null 2>&1 && echo "$$python" && break; done)
BIN := .venv/bin
PIP := -m pip --disable-pip-version-check install -qq

define make-venv
	@python="$(PYTHON)"; \
	test -n "$$python" || { echo "no Python of 3.10 to 3.13 with venv; name one: make PYTHON=/path/to/python3"; exit 1; }; \
	echo "making $(1) with $$python"; \
	rm -rf $(1) && "$$python" -m venv $(1) || { rm -rf $(1); exit 1; }
endef

.PHONY: help
help: ## Show this.
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 8

.PHONY: demo
demo: .stamps/demo ## A simulated line with its own broker. SECONDS=N or PARTS=N ends it; SOURCE=... takes another camera, GOOD=DIR good parts for it.
	$(BIN)/alfa-edge demo $(if $(SECONDS),--seconds $(SECONDS)) $(if $(PARTS),--parts $(PARTS)) $(if $(SOURCE),--source '$(SOURCE)') \
		$(if $(GOOD),--good '$(GOOD)')

.PHONY: test
test: .stamps/dev | system-test ## Format, lint, types, tests. PYTEST_ARGS=... goes to pytest.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 3 --dist loadfile $(PYTEST_ARGS)

.PHONY: lint
lint: .stamps/dev ## Lint and types only.
	$(BIN)/ruff check .
	$(BIN)/mypy

.PHONY: bench
bench: .stamps/bench ## Measurements beside anomalib, in a virtual environment of their own. PYTEST_ARGS=... as above.
	.venv-bench/bin/python -m pytest tests/benchmarks -s $(PYTEST_ARGS)

.PHONY: fuzz
fuzz: .stamps/dev | system-test ## Hostile inputs to all that is read, 10,000 for each target; ALFA_EDGE_FUZZ_N=N for fewer. FUZZ_ARGS=... names targets.
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.fuzz $(FUZZ_ARGS)

.PHONY: gpu
gpu: .stamps/gpu ## What only a GPU can show, in less than 8 minutes; without one, a dry run of it.
	@sh tests/benchmarks/gpu.sh

.PHONY: clean
clean: ## Remove what the targets made: virtual environments, stamps, caches.
	rm -rf .venv .venv-bench .stamps .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist
	rm -rf tests/benchmarks/gpu-wheels tests/benchmarks/gpu-out
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: system-demo system-test
system-demo system-test: system-%:
	@sh deploy/system-packages.sh $*

.stamps/demo: pyproject.toml $(BIN)/pip
	@echo "installing alfa-edge into .venv: about 5.5 GB, most of it torch with CUDA; a few minutes"
	@$(BIN)/python $(PIP) -e '.[demo]'
	@mkdir -p $(@D) && touch $@

.stamps/dev: pyproject.toml $(BIN)/pip
	@echo "installing alfa-edge and its test tools into .venv: about 5.5 GB, most of it torch with CUDA; a few minutes"
	@$(BIN)/python $(PIP) -e '.[dev]'
	@mkdir -p $(@D) && touch $@

.stamps/gpu: pyproject.toml tests/benchmarks/gpu-wheels.sh | .stamps/dev
	@echo "collecting wheels into tests/benchmarks/gpu-wheels: anomalib, and what a machine with torch alone lacks"
	@sh tests/benchmarks/gpu-wheels.sh
	@mkdir -p $(@D) && touch $@

.stamps/bench: pyproject.toml .venv-bench/bin/pip
	@echo "installing anomalib into .venv-bench: about 6 GB, most of it torch with CUDA; a few minutes"
	@.venv-bench/bin/python $(PIP) -e '.[dev]'
	@# anomalib is right only with the open_clip that it asks for, which reads tokens in another order than later ones.
	@.venv-bench/bin/python $(PIP) 'anomalib[clip]==2.7.0'
	@mkdir -p $(@D) && touch $@

# pip comes last as a virtual environment is made: where it is, the rest is too.
$(BIN)/pip: | system-demo
	$(call make-venv,.venv)

.venv-bench/bin/pip: | system-demo
	$(call make-venv,.venv-bench)
