PYTHON ?= python3
BIN := .venv/bin
# The tests of code that depends on the backend, which run on both backends.
BOTH_BACKENDS := $(addprefix tests/,ops constraints layers losses metrics bounds callbacks certificates models attacks \
	utils/test_inputs.py test_export.py test_float32_products.py hub/test_loading.py) tests/training/test_schedules.py
# Those of them that take JAX the longest, as it compiles each operation for every shape: most are of
# searches and bounds that the other tests use too. `make test-jax SLOW_ON_JAX=` runs these as well.
SLOW_ON_JAX := $(addprefix --ignore=tests/,attacks/test_any_classifier.py attacks/test_compiling.py \
	attacks/test_nearest.py attacks/test_own_attack.py attacks/test_program_state.py attacks/test_square.py \
	attacks/test_surrogate.py attacks/test_targeted.py bounds/test_changed_settings.py \
	bounds/test_exact.py bounds/test_liplt.py bounds/test_model_state.py bounds/test_network_bounds.py bounds/test_rules.py \
	bounds/test_window_rows.py certificates/test_budgets.py certificates/test_curvature.py \
	certificates/test_exact.py certificates/test_local_curvature.py certificates/test_per_class.py \
	certificates/test_timeout.py models/test_any_size.py models/test_curvature_net.py \
	models/test_double_backprop.py models/test_l2_nonexpansive.py ops/test_cores.py ops/test_debuggers.py \
	ops/test_kernel_cache.py utils/test_inputs.py) \
	$(addprefix --deselect=tests/,certificates/test_any_network.py::test_probabilities_at_the_end \
	test_export.py::test_convolutions_of_distances test_export.py::test_maps_of_windows)
# `make test` has none of these; each has a target of its own.
SEPARATE := not slow and not scale and not lowest
# The public interface, which runs with the lowest versions of the dependencies too.
LOWEST := .venv-lowest/bin
PUBLIC := $(addprefix tests/,test_import.py hub/test_loading.py hub/test_checkpoint_safety.py \
	hub/test_published_numbers.py hub/test_every_checkpoint.py models/test_checked_calls.py)

.PHONY: demo test test-integration test-jax test-lowest test-scale test-slow lint format bench docs clean

# Targets that need .venv set it up first; a change of pyproject.toml renews it.
.venv/installed: pyproject.toml
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "Python 3.11 or newer is needed"'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@ .venv/package

# The package without the development tools, which is all that the demo needs.
.venv/package: pyproject.toml
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "Python 3.11 or newer is needed"'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

# The lowest versions that pyproject.toml declares of what zoo itself depends on, and so the oldest
# ones that a user can have.
.venv-lowest/installed: pyproject.toml
	$(PYTHON) -m venv --clear .venv-lowest
	$(LOWEST)/python -m pip install --quiet uv
	$(LOWEST)/uv pip compile --quiet --python $(LOWEST)/python --resolution lowest-direct \
		--extra jax --extra test --output-file .venv-lowest/requirements.txt pyproject.toml
	$(LOWEST)/uv pip install --quiet --python $(LOWEST)/python --no-deps \
		--requirement .venv-lowest/requirements.txt --editable .
	touch $@

demo: .venv/package
	$(BIN)/python examples/demo.py

test: .venv/installed
	$(BIN)/python -m pytest -n 2 --dist worksteal -m 'not integration and $(SEPARATE)'

test-integration: .venv/installed
	$(BIN)/python -m pytest -n 2 --dist worksteal -m 'integration and $(SEPARATE)'

test-jax: .venv/installed
	KERAS_BACKEND=jax $(BIN)/python -m pytest -n 2 --dist worksteal -m '$(SEPARATE)' $(SLOW_ON_JAX) $(BOTH_BACKENDS)

test-lowest: .venv-lowest/installed
	$(LOWEST)/python -m pytest -n 2 --dist worksteal -m 'not slow and not scale' $(PUBLIC)

test-scale: .venv/installed
	$(BIN)/python -m pytest -n 2 --dist loadfile -m scale $$(grep -rl --include='*.py' 'mark\.scale' tests)

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
	rm -rf .venv .venv-lowest demo build dist
