"""Exit codes of the commands: one list for all of them."""

OK = 0
"""Done; gate and history: no regression."""

REGRESSION = 1
"""Gate and history: there is a regression; check: a norm is wrong."""

COULD_NOT = 2
"""An argument or a file cannot be used, nothing could be measured or written, or something failed unexpectedly."""

NOTHING = 3
"""Gate, bisect and history: nothing is recorded, nothing was measured, or nothing decided; gate also: too little
excluded."""

INTERRUPTED = 130
"""Ctrl-C."""

TERMINATED = 143
"""SIGTERM."""

BROKEN_PIPE = 141
"""The reader of standard output has closed it: 128 + SIGPIPE, as a shell reports it."""
