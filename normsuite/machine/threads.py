"""Threads that a user's code leaves running, for which Python would wait at the end."""

import contextlib
import os
import sys
import threading


def leave(code: int) -> None:
    """End this process now if threads still run that Python would wait for; else return.

    Args:
        code: the exit code.
    """
    if any(not thread.daemon and thread is not threading.main_thread() for thread in threading.enumerate()):
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError, AttributeError):
                stream.flush()
        os._exit(code)
