"""Which tests are slow: they run in `make test-all` and not in `make test`.

An entry names a file or a test in it, and how many of its tests, or of the parameters of that test, stay in the quick
tier: every module, property and command is touched there, by its least expensive cases. `pytest --durations=50` says
what to name next; a test that is slow by itself may carry `@pytest.mark.slow` instead.
"""

from collections import Counter

import pytest

QUICK = {
    "test_auto.py::test_a_call_like_one_before_gives_what_the_first_gave": 3,
    "test_auto.py::test_a_call_like_one_before_is_not_checked_in_full_and_another_is": 3,
    "test_auto.py::test_a_call_like_one_before_of_other_types_is_computed_or_refused_as_if_it_were_the_first": 6,
    "test_auto.py::test_layouts_are_told_apart": 0,
    "test_bench_command.py::test_ctrl_c_keeps_what_is_finished_and_leaves_130": 0,
    "test_bench_command.py::test_an_expected_error_is_one_line_and_exit_code_2": 3,
    "test_bench_command.py::test_the_command": 0,
    "test_fuzz.py": 0,
    "test_gate.py::test_a_commit_that_ends_the_process_that_imports_it_is_named": 0,
    "test_gate.py::test_a_dirty_tree_is_the_head_and_files_say_what_was_found": 0,
    "test_gate.py::test_a_norm_that_base_did_not_have_is_not_available": 0,
    "test_gate.py::test_memory_and_digits_that_were_lost_are_found": 0,
    "test_gate.py::test_a_shallow_clone_is_told_how_to_get_the_rest": 0,
    "test_numba_runtime.py::test_a_compiled_graph_gives_the_same_gradients": 1,
    "test_numba_runtime.py::test_the_operators_are_what_they_say_to_torch": 1,
    "test_numba_runtime.py::test_the_same_bits_for_any_number_of_threads": 6,
}
"""File or test, and how many stay quick."""


def entry(item: pytest.Item) -> str | None:
    """Return the entry of `QUICK` that a test belongs to, the test's own before its file's."""
    name = f"{item.path.name}::{getattr(item, 'originalname', item.name)}"
    return next((key for key in (name, item.path.name) if key in QUICK), None)


def mark(items: list[pytest.Item]) -> None:
    """Mark as slow what an entry does not leave in the quick tier: the first ones in the file's order stay."""
    seen: Counter[str] = Counter()
    for item in items:
        key = entry(item)
        if key is not None:
            if seen[key] >= QUICK[key]:
                item.add_marker(pytest.mark.slow)
            seen[key] += 1
