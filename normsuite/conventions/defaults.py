"""Defaults that a command and its function share: commands are declared before torch is loaded."""

BENCH_PROCESSES = 6
"""Processes of a bench; from so many on a slow one is clipped (`statistics.LEAST_CLIPPED`)."""

BENCH_PROCESSES_ON_ACCELERATORS = 3

BENCH_SECONDS = 0.25
"""Seconds of timing for each task in each process, at least."""

COMPARE_SECONDS = 5.0
"""Seconds of timing of statements that are compared."""

SAME_WITHIN = 0.01
"""How far from 1 the ratio of two statements' times may lie and still count as the same."""

CHECK_LIMIT_S = 120.0
"""Time limit of one check in a process of its own; a compiler may take most of it."""

GATE_BUDGET_S = 120.0
"""Seconds that a gate, or a table of a self-check, may take."""

BISECT_BUDGET_S = 60.0
"""Seconds that each comparison of a bisection may take."""

ERROR_RATE_SEEDS = 10
"""Seeds that each version is trained with where a gate compares error rates."""
