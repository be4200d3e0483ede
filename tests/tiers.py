"""Which tests are slow, and run in `make test-all` alone; which of them take times, and run while no other test does.

An entry names a test, or a file and with it each of its tests, and how many of a test's parameters stay in the quick
tier; 0 leaves none. Every module, property and command is touched there, by its least expensive cases. The end of `make
test` says which tests took longest, and are to be named next; a test that is slow by itself may carry
`@pytest.mark.slow` instead.
"""

from collections import Counter

import pytest

QUICK = {
    "test_activations.py": 3,
    "test_activations.py::test_forward_and_backward_are_torch_s_behind_the_norm": 3,
    "test_activations.py::test_kernels_round_once_in_float32": 1,
    "test_activations.py::test_silu_of_numbers_far_from_zero": 0,
    "test_addresses.py": 8,
    "test_addresses.py::test_a_script_under_a_default_device_ends_as_it_should": 0,
    "test_addresses.py::test_another_default_device_changes_nothing": 2,
    "test_auto.py": 8,
    "test_auto.py::test_a_call_like_one_before_gives_what_the_first_gave": 0,
    "test_auto.py::test_layouts_are_told_apart": 0,
    "test_auto.py::test_what_is_remembered_is_not_used_where_torch_looks_at_operations": 0,
    "test_auto_results.py": 8,
    "test_auto_results.py::test_a_call_like_one_before_is_not_checked_in_full_and_another_is": 3,
    "test_auto_results.py::test_other_types_are_computed_or_refused_as_in_a_first_call": 0,
    "test_auto_results.py::test_results_are_those_of_the_chosen_backend": 1,
    "test_bad_targets.py::test_check_names_what_changes_the_process": 0,
    "test_bad_targets.py::test_compare_names_a_statement_that_leaves": 0,
    "test_bad_targets.py::test_what_harms_nobody_is_measured": 1,
    "test_bench_command.py": 6,
    "test_bench_command.py::test_an_expected_error_is_one_line_and_exit_code_2": 2,
    "test_bench_command.py::test_ctrl_c_keeps_what_is_finished_and_leaves_130": 0,
    "test_bench_command.py::test_the_command": 0,
    "test_bench_history.py::test_both_ways_are_timed_before_and_after_one_more_commit": 0,
    "test_bench_schedule.py": 6,
    "test_bench_verdicts.py": 6,
    "test_benchmarks.py": 5,
    "test_benchmarks.py::test_the_error_rate_has_a_sample_for_each_seed": 0,
    "test_busy_core.py": 1,
    "test_busy_core.py::test_a_busy_neighbour_costs_no_more_than_it_costs_torch": 0,
    "test_caches.py::test_a_user_without_an_account_computes_without_a_cache": 0,
    "test_caches.py::test_a_user_without_an_account_reads_a_history": 1,
    "test_caches.py::test_no_flipped_bit_changes_what_is_said": 0,
    "test_cli.py::test_a_dry_run_says_how_many_how_long_and_what_it_could_tell_apart": 0,
    "test_cli.py::test_a_study_as_json_ends_with_claims_and_verdicts": 0,
    "test_cli.py::test_an_expected_error_is_one_line_and_exit_code_2": 4,
    "test_cli.py::test_an_option_wins_over_the_file": 0,
    "test_cli.py::test_numerics_as_json_has_every_backend_side_by_side": 0,
    "test_cli_options.py::test_a_wrong_argument_is_answered_without_torch": 10,
    "test_conformance.py::test_a_target_that_ends_its_process_or_hangs_costs_one_check": 0,
    "test_contrast.py::test_where_asv_finds_a_step_among_the_last_values_they_do_not_go_on": 2,
    "test_convert.py::test_models_of_torchvision": 2,
    "test_converted_models.py": 3,
    "test_converted_models.py::test_gradients_are_the_original_s": 0,
    "test_damaged_files.py": 4,
    "test_device_bench.py": 5,
    "test_device_cases.py": 5,
    "test_digits.py": 4,
    "test_distributed.py": 1,
    "test_doctor.py::test_noise_is_measured_in_fresh_processes": 0,
    "test_documents.py::test_python_blocks_run": 3,
    "test_documents.py::test_what_is_quick_runs": 4,
    "test_entry_points.py::test_one_that_leads_nowhere_is_named": 1,
    "test_example.py::test_an_installed_target_is_found_anywhere": 0,
    "test_example.py::test_calls_of_the_example_are_compared": 0,
    "test_example.py::test_every_target_of_the_project_is_checked": 0,
    "test_example.py::test_what_fails_is_exit_code_1_and_one_line_for_what_cannot_be": 0,
    "test_exit_codes.py::test_a_fault_ends_with_its_code": 5,
    "test_extension.py::test_a_norm_from_a_folder_is_everywhere": 0,
    "test_faults.py": 0,
    "test_features.py": 6,
    "test_features.py::test_exports_to_onnx_and_onnxruntime_agrees": 2,
    "test_features.py::test_low_precision_input_with_float32_parameters": 0,
    "test_features.py::test_the_first_call_of_a_process_may_be_compiled": 0,
    "test_fuzz.py": 0,
    "test_gate.py::test_a_cell_at_which_both_end_their_processes_is_not_available": 0,
    "test_gate.py::test_a_cell_at_which_head_ends_its_process_is_a_regression_and_the_others_are_measured": 0,
    "test_gate.py::test_a_cell_that_head_breaks_is_a_regression": 0,
    "test_gate.py::test_a_commit_that_cannot_be_imported_is_named": 0,
    "test_gate.py::test_a_commit_that_ends_the_process_that_imports_it_is_named": 0,
    "test_gate.py::test_a_dirty_tree_is_the_head_and_files_say_what_was_found": 0,
    "test_gate.py::test_a_norm_that_base_did_not_have_is_not_available": 0,
    "test_gate.py::test_a_slower_commit_is_a_regression_and_the_way_back_is_better": 0,
    "test_gate.py::test_a_version_that_cannot_stand_beside_the_other_is_measured_apart": 0,
    "test_gate.py::test_an_interruption_leaves_no_process_and_no_half_written_file": 0,
    "test_gate.py::test_another_interpreter_measures_its_version_apart": 0,
    "test_gate.py::test_bad_input_is_one_line_and_exit_code_2": 1,
    "test_gate.py::test_memory_and_digits_that_were_lost_are_found": 0,
    "test_gate.py::test_the_same_package_is_not_measured": 0,
    "test_gate.py::test_two_gates_at_once_take_turns": 0,
    "test_gate_bisection.py::test_a_bisection_finds_the_commit_of_a_step": 0,
    "test_gate_bisection.py::test_a_self_check_leaves_records_that_add_up": 0,
    "test_gate_bisection.py::test_a_self_check_says_its_rates_with_their_bounds": 0,
    "test_gate_bisection.py::test_an_interrupted_check_or_bisection_leaves_no_process": 0,
    "test_gate_bisection.py::test_planted_versions_take_longer_by_about_what_was_planted": 0,
    "test_gate_bisection.py::test_the_commit_from_which_on_a_cell_fails_is_found": 0,
    "test_gate_decisions.py::test_moderated_intervals_hold_as_often_as_they_say_and_are_narrower": 1,
    "test_gate_looks.py::test_a_version_that_ends_the_processes_that_train_it_fails_at_that_norm": 0,
    "test_gate_looks.py::test_a_version_that_learns_worse_is_found": 0,
    "test_gate_trees.py::test_a_shallow_clone_is_told_how_to_get_the_rest": 0,
    "test_gradient_layouts.py": 6,
    "test_guard_pages.py::test_kernels_stay_within_tensors_of_few_shapes": 0,
    "test_guarded.py::test_the_gate_s_cells_call_the_function": 0,
    "test_history_steps.py::test_what_is_remembered_changes_nothing": 0,
    "test_modules_under_torch.py": 2,
    "test_norms.py": 12,
    "test_norms.py::test_narrow_types_round_the_true_output_once_or_twice": 1,
    "test_numba.py": 6,
    "test_numba.py::test_every_stored_value_is_read_and_rounded_as_torch_does": 1,
    "test_numba_processes.py": 4,
    "test_numba_processes.py::test_a_cache_that_cannot_be_written_costs_time_and_nothing_else": 0,
    "test_numba_processes.py::test_kernels_are_kept_in_the_user_s_cache_and_nowhere_else": 0,
    "test_numba_processes.py::test_two_copies_of_the_package_in_one_process": 0,
    "test_numba_runtime.py": 4,
    "test_numba_runtime.py::test_a_compiled_graph_gives_the_same_gradients": 0,
    "test_numba_runtime.py::test_both_ways_to_write_are_measured_in_the_same_chains": 0,
    "test_numba_runtime.py::test_rows_that_are_worked_on_together_give_what_all_at_once_give": 0,
    "test_numba_runtime.py::test_several_python_threads_at_once": 0,
    "test_numba_runtime.py::test_the_operators_are_what_they_say_to_torch": 1,
    "test_numba_runtime.py::test_what_is_written_past_the_caches_has_the_same_bits": 1,
    "test_own_benchmarks.py": 2,
    "test_packaging.py::test_a_build_has_the_same_bytes_each_time": 0,
    "test_packaging.py::test_a_command_without_its_extra_says_what_to_install": 3,
    "test_packaging.py::test_reading_digits_without_torchvision_says_what_to_install": 0,
    "test_packaging.py::test_the_core_computes_with_nothing_but_its_own_dependencies": 1,
    "test_packaging.py::test_the_gate_needs_neither_asv_nor_matplotlib_nor_torchvision": 0,
    "test_packaging.py::test_the_sdist_has_what_tests_and_pages_need": 0,
    "test_packaging.py::test_the_wheel_has_every_file_of_the_package": 0,
    "test_plain_calls.py": 6,
    "test_reference.py::test_the_report_kept_here_is_made_of_the_records_kept_here": 0,
    "test_reference.py::test_two_runs_of_the_bench_agree_within_their_intervals_but_where_the_results_say": 0,
    "test_reference_browser.py": 3,
    "test_reference_browser.py::test_a_page_is_fit_to_be_seen": 0,
    "test_report.py::test_helpers_change_no_byte": 0,
    "test_report.py::test_other_processes_give_the_same_bytes": 0,
    "test_report_browser.py": 1,
    "test_report_records.py::test_a_record_that_lacks_something_is_named_and_skipped": 3,
    "test_saved_tensors.py": 8,
    "test_saved_tensors.py::test_what_a_hook_on_saved_tensors_gives_back_is_read_as_it_lies_or_refused": 0,
    "test_server.py::test_workers_have_what_is_slow_to_import_and_an_allocator_that_is_pinned": 0,
    "test_shift.py::test_watching_changes_nothing": 2,
    "test_simulations.py::test_the_gate_s_intervals_hold_together_and_its_sentence_is_true": 2,
    "test_statistics.py::test_corrected_ratios_of_equals_hold_1_all_together": 0,
    "test_statistics.py::test_equal_norms_are_rarely_called_different": 0,
    "test_study.py": 3,
    "test_study.py::test_a_run_learns_and_repeats_itself": 1,
    "test_study.py::test_each_setting_changes_what_is_learnt": 1,
    "test_study.py::test_every_norm_sees_the_same_batches": 0,
    "test_study_anybodys.py::test_a_target_that_cannot_be_trained_is_named_before_anything_is": 1,
    "test_study_anybodys.py::test_another_source_makes_another_run": 0,
    "test_study_anybodys.py::test_what_cannot_take_part_is_one_line_before_anything_is_trained": 2,
    "test_sweep.py::test_a_damaged_record_is_named_set_aside_and_run_again": 0,
    "test_sweep.py::test_a_full_disk_is_one_clear_error_and_keeps_what_was_finished": 0,
    "test_sweep_killed.py::test_a_cluster_finds_the_same_with_a_worker_killed": 0,
    "test_sweep_killed.py::test_a_cluster_without_workers_is_named_and_one_that_lost_them_is_waited_for": 0,
    "test_sweep_killed.py::test_a_killed_worker_and_a_killed_parent_lose_only_what_was_unfinished": 0,
    "test_sweep_killed.py::test_a_scheduler_that_is_frozen_is_not_waited_for": 0,
    "test_sweep_killed.py::test_a_worker_with_other_sources_or_digits_refuses": 0,
    "test_sweep_killed.py::test_an_interrupted_sweep_leaves_no_process_and_goes_on_later": 0,
    "test_throughput.py::test_all_ways_are_timed_in_fresh_processes": 0,
    "test_throughput.py::test_the_plain_loop_and_the_sweep_are_started_as_users_start_them": 0,
    "test_tiers.py::test_a_tier_has_the_same_tests_in_any_order": 0,
    "test_torch_suites.py": 4,
    "test_torch_suites.py::test_every_sample_of_torch_s_functions": 1,
    "test_trees.py": 3,
    "test_triton_compiled.py": 2,
    "test_triton_compiled.py::test_a_pattern_without_a_call_is_refused": 0,
    "test_triton_compiled.py::test_aligned_tensors_are_read_and_written_by_whole_vectors": 0,
    "test_triton_compiled.py::test_what_was_compiled_is_not_compiled_again": 0,
    "test_triton_values.py": 1,
    "test_triton_values.py::test_groups_of_channels_that_lie_side_by_side": 0,
    "test_triton_values.py::test_numbers_far_from_zero": 0,
    "test_tune.py::test_a_ratio_is_of_two_calls_in_turn": 0,
    "test_versus.py::test_errors_have_the_callables_name": 0,
}
"""Test, or file for each of its tests, and how many of its parameters stay quick."""


TIMED = {
    "test_busy_core.py::test_a_busy_neighbour_costs_no_more_than_it_costs_torch",
    "test_bench_command.py::test_the_command",
    "test_bench_history.py::test_both_ways_are_timed_before_and_after_one_more_commit",
    "test_doctor.py::test_noise_is_measured_in_fresh_processes",
    "test_gate_bisection.py::test_a_bisection_finds_the_commit_of_a_step",
    "test_gate_bisection.py::test_a_self_check_leaves_records_that_add_up",
    "test_gate_bisection.py::test_a_self_check_says_its_rates_with_their_bounds",
    "test_gate.py::test_a_slower_commit_is_a_regression_and_the_way_back_is_better",
    "test_gate_bisection.py::test_planted_versions_take_longer_by_about_what_was_planted",
    "test_throughput.py::test_all_ways_are_timed_in_fresh_processes",
}
"""Tests whose result rests on times: with two workers on two cores each would measure the other. All are slow."""


def entry(item: pytest.Item) -> str | None:
    """Return the entry of `QUICK` that a test belongs to, its own before its file's."""
    return next((key for key in (name_of(item), item.path.name) if key in QUICK), None)


def name_of(item: pytest.Item) -> str:
    """Return file and name of a test, without its parameters."""
    return f"{item.path.name}::{getattr(item, 'originalname', None) or item.name}"


def mark(items: list[pytest.Item]) -> None:
    """Mark what is timed, and as slow what an entry does not leave: a test's first parameters stay quick."""
    seen: Counter[str] = Counter()
    for item in items:
        if name_of(item) in TIMED:
            item.add_marker(pytest.mark.timed)
        key = entry(item)
        if key is not None:
            if seen[name_of(item)] >= QUICK[key]:
                item.add_marker(pytest.mark.slow)
            seen[name_of(item)] += 1
