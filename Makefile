# The README's commands. Each does its own set-up; nothing needs to be installed before, and what is
# there already is kept.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON := .venv/bin/python
export HF_HUB_OFFLINE := 1
export CMAKE_BUILD_PARALLEL_LEVEL ?= $(shell nproc)

.PHONY: help build demo test bench bench-executorch lint format tidy asan tsan clean

help:  ## Show the commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

.venv/.ready: scripts/setup.sh scripts/requirements.txt
	@bash scripts/setup.sh
	@touch $@

build: .venv/.ready  ## Set up .venv and build the engine and its tests
	@$(PYTHON) -m pip install -q --no-build-isolation --no-deps -e . \
	  --config-settings=cmake.define.PORTWRIGHT_TESTS=ON
	@$(PYTHON) -c "import portwright; print('portwright', portwright.__version__, 'is ready in .venv')"

demo: build  ## Export the real MiniLM to ONNX and verify it
	@$(PYTHON) -m portwright.demo

test: build  ## Run all tests, C++ and Python
	@ctest --test-dir build/release --output-on-failure -j2
	@$(PYTHON) -m pytest -q

bench: build  ## Measure against the peers, as ratios
	@$(PYTHON) bench/capture.py
	@$(PYTHON) bench/growth.py
	@$(PYTHON) bench/onnx.py
	@$(PYTHON) bench/onnx_runtime.py
	@$(PYTHON) bench/pt2.py

bench-executorch: build  ## Measure .pte files against the peer's, which takes minutes and torchao
	@$(PYTHON) -c "import torchao" 2>/dev/null || $(PYTHON) -m pip install -q torchao==0.18.0
	@$(PYTHON) bench/executorch.py
	@$(PYTHON) bench/executorch_runtime.py

.venv/.lint: scripts/requirements-lint.txt .venv/.ready
	@$(PYTHON) -m pip install -q -r scripts/requirements-lint.txt
	@touch $@

lint: .venv/.lint  ## Check formatting, style and types
	@git ls-files 'src/*.h' 'src/*.cpp' 'tests/*.cpp' 'tests/*.h' 'examples/*.cpp' | \
	  xargs .venv/bin/clang-format --dry-run --Werror
	@.venv/bin/ruff check . && .venv/bin/ruff format --check .
	@.venv/bin/mypy

format: .venv/.lint  ## Format all sources
	@git ls-files 'src/*.h' 'src/*.cpp' 'tests/*.cpp' 'tests/*.h' 'examples/*.cpp' | xargs .venv/bin/clang-format -i
	@.venv/bin/ruff check --fix -q . || true
	@.venv/bin/ruff format -q .

tidy: build .venv/.lint  ## Run clang-tidy over the torch-free part
	@git ls-files 'src/*.cpp' | grep -vE '/(capture|interpreter|bindings)/' | \
	  xargs -P2 -n8 .venv/bin/clang-tidy -p build/release --quiet --extra-arg=-Wno-ignored-gch 2>/dev/null

asan:  ## C++ tests under AddressSanitizer and UndefinedBehaviorSanitizer
	@cmake --preset asan && cmake --build --preset asan && ctest --preset asan

tsan:  ## C++ tests under ThreadSanitizer
	@cmake --preset tsan && cmake --build --preset tsan && ctest --preset tsan

clean:  ## Remove what was built, not .venv
	@rm -rf build
