PYTHON ?= python3
BIN := .venv/bin
# The tests of code that depends on the backend, which run on both backends.
BOTH_BACKENDS := $(addprefix tests/,ops constraints layers losses metrics bounds callbacks certificates models attacks \
	utils/test_inputs.py test_export.py hub/test_loading.py test_memory.py) \
	tests/training/test_schedules.py

.PHONY: demo test test-jax test-scale test-slow lint format bench docs clean

# Targets that need .venv set it up first; a change of pyproject.toml renews it.
.venv/installed: pyproject.toml
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "Python 3.11 or newer is needed"'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

demo: .venv/installed
	$(BIN)/python examples/demo.py

test: .venv/installed
	$(BIN)/python -m pytest -n 2 --dist worksteal -m 'not slow and not scale'

test-jax: .venv/installed
	KERAS_BACKEND=jax $(BIN)/python -m pytest -n 2 --dist worksteal -m 'not slow and not scale' $(BOTH_BACKENDS)

test-scale: .venv/installed
	$(BIN)/python -m pytest -m scale

test-slow: .venv/installed
	$(BIN)/python -m pytest -m slow --timeout=3600

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright

format: .venv/installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: .venv/installed
	$(BIN)/python benchmarks/lp_distance.py

docs: .venv/installed
	$(BIN)/mkdocs build --strict --quiet --site-dir build/docs

clean:
	rm -rf .venv demo build dist
