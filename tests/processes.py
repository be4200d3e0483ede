"""Processes that another one has started, for tests that count or kill them."""

import psutil


def started_by(pid, word):
    """The processes below `pid` that run and have `word` in a part of their command line.

    A process may end while it is asked: one that has, or that waits for its parent to take note of it (a zombie, which
    has no command line any more), is left out.
    """
    try:
        below = psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    return [process for process in below if any(word in part for part in _command_line(process))]


def _command_line(process):
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:  # ZombieProcess is one of them
        return []
