"""Listen to a process that runs what others wrote, and may hang or end."""

from collections.abc import Callable, Generator, Mapping, Sequence

from .process import Died, Process, Watch, fresh


class Ended(Died):
    """A process hung, or ended with an error; the message is "hangs: ended after 60 s", or its last words."""

    def __init__(self, said: str, hung_s: float | None):
        self.hung_s = hung_s
        super().__init__(said if hung_s is None else f"hangs: ended after {hung_s:g} s")


def messages(
    command: Sequence[str],
    job: dict,
    env: Mapping[str, str],
    *,
    first_s: float,
    limit_s: float | Callable[[dict], float],
) -> Generator[dict, None, None]:
    """Yield the messages of a fresh process on one job.

    Args:
        command, env: as `process.fresh` takes them.
        job, first_s, limit_s: as `heard` takes them.

    Raises:
        Died: it could not be started, or `Ended`.
    """
    with fresh(command, env) as one:
        yield from heard(one, job, first_s=first_s, limit_s=limit_s)


def heard(
    one: Process, job: dict | None, *, first_s: float, limit_s: float | Callable[[dict], float]
) -> Generator[dict, None, None]:
    """Yield the messages of a process; the time that is spent on a message does not count as silence.

    Args:
        one: the process.
        job: sent to it first; None where it has its job.
        first_s: how long it may be silent before its first message.
        limit_s: how long behind a message, or a function of the message that returns that.

    Raises:
        Ended: it hung, and was ended, or it ended with an error.
    """
    watch = Watch(one, first_s)
    try:
        if job is not None:
            one.tell(job)
        for message in one.messages():
            watch.stop()
            yield message
            watch.again(limit_s(message) if callable(limit_s) else limit_s)
    except Died as died:
        raise Ended(str(died), watch.seconds if watch.has_ended_it else None) from None
    finally:
        watch.stop()
