"""The loop of every kernel: threads take tasks until none is left.

The thread that finishes last merges the partial results of all.
"""

from .arguments import NEXT, take
from .decorators import fused_inlined, inlined
from .streaming import arrived


@inlined
def _apart(a, turn, turns):
    """Return the grain for a turn, such that grains that threads take at the same time lie far apart.

    The grains are divided into one share for each thread, and successive turns go to different shares. Neighbouring
    rows share a cache line at their ends, which two threads that write to them would invalidate for each other again
    and again.
    """
    if a.workers == 1:
        return turn
    place, share = divmod(turn, a.workers)
    least, longer = divmod(turns, a.workers)
    return place + share * least + min(share, longer)


@inlined
def nothing(a, data):
    """Return a place holder, for kernels whose threads need nothing beside the arguments."""
    return 0


def loop(begin, do, end, *, grained):
    """Return a function of (arguments, data, code, streamed) that does a thread's share of all tasks.

    Args:
        begin: of (a, data); what a thread needs in each task.
        do: of (a, data, here, first, last, code, streamed), `here` from `begin`; does those tasks.
        end: of (a, data, finished), with how many tasks this thread did.
        grained: tasks are taken `a.grain` at a time, far apart from those of other threads, and `do` has `a.batch` of
            them at a time.
    """

    @fused_inlined
    def tasks(a, data, code, streamed):
        here = begin(a, data)
        grain = a.grain if grained else 1
        turns = (a.tasks + grain - 1) // grain
        finished = 0
        while True:
            turn = take(data, NEXT, 1)
            if turn >= turns:
                break
            first = (_apart(a, turn, turns) if grained else turn) * grain
            last = min(first + grain, a.tasks)
            batch = a.batch if grained else 1
            for begun in range(first, last, batch):
                do(a, data, here, begun, min(begun + batch, last), code, streamed)
            finished += last - first
        if streamed:
            arrived(data)
        end(a, data, finished)

    return tasks
