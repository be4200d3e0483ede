# `make report` and `make test` do all that they need on a fresh machine with Python 3.11, git and make.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN := $(abspath $(VENV))/bin
INSTALLED := $(VENV)/.installed

# As asv.conf.json sets them, which asv does not do in an environment that exists.
QUIET_ALLOCATOR = env $$($(BIN)/python -c "from normsuite.allocator import PINNED; print(*map('='.join, PINNED.items()))")

.PHONY: report test benchmark accelerator faults lint clean

# The environment, the study, the benchmarks of the checked-out commit in that same environment, the page.
report: $(INSTALLED)
	$(BIN)/normsuite study --preset quick
	$(BIN)/asv machine --yes
	@test -z "$$(git status --porcelain -- normsuite benchmarks)" || echo "note: asv records your uncommitted changes as HEAD"
	$(QUIET_ALLOCATOR) $(BIN)/asv run --environment existing:$(BIN)/python \
		--set-commit-hash $$(git rev-parse HEAD) --record-samples; \
	status=$$?; $(BIN)/normsuite report && exit $$status

test: $(INSTALLED)
	$(BIN)/python -m pytest

benchmark: $(INSTALLED)
	$(BIN)/python -m pytest --benchmark-only

# A thousand damaged files, each read alone; then repositories, streams, signals and users.
faults: $(INSTALLED)
	$(BIN)/python tools/faults.py --count 1000
	$(BIN)/python -m pytest -q tests/test_damaged_files.py tests/test_caches.py tests/test_trees.py tests/test_exit_codes.py

# At most ten minutes on a GPU: correctness, bench, gate, study and report of it.
accelerator: $(INSTALLED)
	$(BIN)/python -m pip install --editable '.[accelerator]'
	$(BIN)/python -m tools.accelerator

lint: $(INSTALLED)
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .

$(INSTALLED): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --editable '.[test]'
	touch $@

clean:
	rm -rf $(VENV)
