# Everything from a fresh clone with python >= 3.11, pip and make.
#   make quickstart   installs into .venv and runs the quickstart search
#   make notebooks    runs the notebooks and writes their pages in docs/ again
#   make test         installs into .venv; format, lint, types and all tests
#   make test-lower   installs the oldest versions that are allowed into .venv-lower; the tests that are not slow, and of the others: sync, exports, losses, the registry, graphs, families, pruning
#   make reference    writes docs/reference/ again: the search file's keys, and the commands
#   make docs         installs into .venv; builds the documentation into build/docs

PYTHON ?= python3
BIN := .venv/bin
BIN_LOWER := .venv-lower/bin

.PHONY: quickstart test test-fast test-lower notebooks reference docs ui clean

quickstart: .venv/installed
	$(BIN)/autokd search search_spaces/quickstart.yaml

test: .venv/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pytest --numprocesses 2 --dist loadfile

test-fast: .venv/installed
	$(BIN)/pytest --numprocesses 2 --dist loadfile -m "not slow"

test-lower: .venv-lower/installed
	$(BIN_LOWER)/pytest --numprocesses 2 --dist loadfile -m "not slow"
	$(BIN_LOWER)/pytest --numprocesses 2 --dist loadfile -m slow tests/test_engine_sync.py tests/test_export.py tests/test_features.py tests/test_objective.py tests/test_register.py tests/test_runtime.py tests/test_students_families.py tests/test_students_pruned.py

notebooks: .venv/installed
	$(BIN)/python notebooks/render.py

reference: .venv/installed
	$(BIN)/python docs/generators/reference.py

docs: .venv/installed
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

ui: .venv/installed
	$(BIN)/autokd ui

# Pinned versions; the project itself is linked, so that edits count at once.
.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev]"
	touch $@

.venv-lower/installed: pyproject.toml constraints-lower.txt
	$(PYTHON) -m venv .venv-lower
	$(BIN_LOWER)/python -m pip install --quiet --disable-pip-version-check --constraint constraints-lower.txt --editable ".[tests]"
	touch $@

clean:
	rm -rf .venv .venv-lower
