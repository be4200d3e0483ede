"""Listen to a process that runs what others wrote, and may hang or end."""

from collections.abc import Callable, Generator

from .process import Died, Process, Watch


class Ended(Exception):
    """A process hung, or ended with an error.

    Attributes:
        hung_s: the limit that it was silent for; None where it ended by itself.
    """

    def __init__(self, said: str, hung_s: float | None):
        self.hung_s = hung_s
        super().__init__(said)

    def how(self, ends: str) -> str:
        """Return how it ended: "hangs: ended after 60 s", or `ends` with its last words."""
        return f"{ends} ({self})" if self.hung_s is None else f"hangs: ended after {self.hung_s:g} s"


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
