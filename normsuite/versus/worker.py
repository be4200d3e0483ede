"""A process that times the calls of one comparison."""

from ..errors import NormsuiteError
from ..measure import process
from ..targets.loading import search_here
from ..targets.messages import error_to_message


def work(job: dict, emit) -> None:
    """Time the calls that the job names, and emit their times."""
    import torch

    from .compare import measured

    torch.set_num_threads(job["threads"])
    search_here(job["folders"])
    try:
        failed: dict[str, str] = {}
        times = measured(job, failed, on_first=lambda name: emit({"first": name}))
        emit({"times": times, "failed": failed})
    except NormsuiteError as error:
        emit(error_to_message(error))


if __name__ == "__main__":
    process.speak(work)
