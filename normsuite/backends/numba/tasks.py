"""The loop of every kernel: threads take tasks until none is left.

The thread that finishes last merges the partial results of all.
"""

from .arguments import DONE, SHARES, TURNS, counted, number_of_thread, take
from .decorators import fused_inlined, inlined
from .streaming import arrived


@inlined
def number(a):
    """Return the number of this thread, below `a.workers`."""
    return number_of_thread(a.number) % a.workers if a.workers > 1 else 0


@inlined
def nothing(a, data):
    """Return a place holder, for kernels whose threads need nothing beside the arguments."""
    return 0


def loop(begin, do, end, *, grained):
    """Return a function of (arguments, data, code, streamed) that does a thread's tasks.

    The tasks are divided into one share for each thread (at most `SHARES`), side by side and in the order of the
    threads' numbers, as torch's own kernels divide a tensor: what a thread wrote in a forward pass, or in the layer in
    front, is in its second-level cache when it reads it. A thread that is done with its share takes tasks of the next
    ones. Shares also keep threads off each other's cache lines: neighbouring rows may have one in common.

    Args:
        begin: of (a, data); what a thread needs in each task.
        do: of (a, data, here, first, last, code, streamed), `here` from `begin`; does those tasks.
        end: of (a, data, last), `last` where all tasks are done and this thread did the last one.
        grained: tasks are taken `a.grain` at a time, and `do` has `a.batch` of them at a time.
    """

    @fused_inlined
    def tasks(a, data, code, streamed):
        here = begin(a, data)
        grain, batch = (a.grain, a.batch) if grained else (1, 1)
        turns = (a.tasks + grain - 1) // grain
        shares, own = min(a.workers, SHARES), number(a)
        finished = 0
        for further in range(shares):
            share = (own + further) % shares
            begun, ended = turns * share // shares, turns * (share + 1) // shares
            if further and begun + counted(data, TURNS + share) >= ended:
                continue  # without a write, which all threads would wait for
            while True:
                turn = begun + take(data, TURNS + share, 1)
                if turn >= ended:
                    break
                first = turn * grain
                last = min(first + grain, a.tasks)
                for at in range(first, last, batch):
                    do(a, data, here, at, min(at + batch, last), code, streamed)
                finished += last - first
        if streamed:
            arrived(data)
        end(a, data, finished > 0 and take(data, DONE, finished) + finished == a.tasks)

    return tasks
