"""Imports that each process of a gate would do before its job; a parent that forks them imports this module.

Nothing here may start a thread: threads do not survive a fork.
"""

from contextlib import suppress

import torch.fx.experimental.symbolic_shapes  # noqa: F401, which torch.autograd.grad imports when it is first called

from . import worker  # noqa: F401

with suppress(ImportError):  # an extra, which a version of a guarded package may do without
    import numba

    numba.njit(lambda: None)()  # numba registers its types when it compiles for the first time
