# `make report` and `make test` do all that they need on a fresh machine with Python 3.11, git, make and gcc.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN := $(abspath $(VENV))/bin
INSTALLED := $(VENV)/.installed

# As asv.conf.json sets them, which asv does not do in an environment that exists.
QUIET_ALLOCATOR = env $$($(BIN)/python -c "from normsuite.machine.allocator import PINNED; print(*map('='.join, PINNED.items()))")

.PHONY: report test test-slow test-all coverage benchmark accelerator faults lint pages docs clean

# The environment, the study, the benchmarks of the checked-out commit in that same environment, the page.
report: $(INSTALLED)
	$(BIN)/normsuite study --preset quick
	@test -z "$$(git status --porcelain -- normsuite benchmarks)" || echo "note: asv records your uncommitted changes as HEAD"
	machine=$$($(BIN)/python -m tools.asv_machine) && \
	$(QUIET_ALLOCATOR) $(BIN)/asv run --machine "$$machine" --environment existing:$(BIN)/python \
		--set-commit-hash $$(git rev-parse HEAD) --record-samples; \
	status=$$?; $(BIN)/normsuite report && exit $$status

# Every module, property and command, in minutes; in another order each time (PYTEST_ADDOPTS=--randomly-seed=N repeats one).
test: $(INSTALLED)
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow" --durations=25

# The rest of the tests; those that take times are alone.
test-slow: $(INSTALLED)
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "slow and not timed" --durations=25
	$(BIN)/python -m pytest -m timed --durations=10

# All tests.
test-all: test test-slow

# Which lines and branches no test reaches; fails where they are more than pyproject.toml allows.
coverage: $(INSTALLED)
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not timed" --cov --cov-report= --cov-fail-under=0
	$(BIN)/python -m pytest -m timed --cov --cov-append --cov-report=term-missing

benchmark: $(INSTALLED)
	$(BIN)/python -m pytest --benchmark-only

# A thousand faults, each tried alone: files, repositories, streams, signals, full disks, two writers.
faults: $(INSTALLED)
	$(BIN)/python -m tools.faults --count 1000
	$(BIN)/python -m pytest -q tests/test_damaged_files.py tests/test_compact.py tests/test_caches.py tests/test_trees.py tests/test_exit_codes.py

# At most ten minutes on a GPU: correctness, bench, gate, study and report of it.
accelerator: $(INSTALLED)
	$(BIN)/python -m pip install --editable '.[accelerator]'
	$(BIN)/python -m tools.accelerator

# Style, types, dead code; import directions, lengths and words are tests, run here too since they take seconds.
lint: $(INSTALLED)
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy
	@found=$$($(BIN)/python -m vulture); code=$$?; test $$code = 0 -o $$code = 3 || exit $$code; \
	! printf '%s\n' "$$found" | grep -v -e '^tests/' -e '^$$'
	$(BIN)/python -m pytest -q tests/test_imports.py tests/test_lengths.py tests/test_words.py

# What is made of records and of the commands themselves, in README.md and docs/.
pages: $(INSTALLED)
	$(BIN)/python -m tools.pages

# The documentation, strictly: reports/docs/index.html.
docs: $(INSTALLED)
	$(BIN)/python -m tools.pages --check
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

$(INSTALLED): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --editable '.[test,lint,docs]'
	touch $@

clean:
	rm -rf $(VENV)
