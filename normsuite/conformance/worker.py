"""A process that does checks, one after the other, and says what it found; started by `isolated`."""

import faulthandler

from ..errors import NormsuiteError
from ..measure import process
from ..targets.loading import search_here
from ..targets.messages import error_to_message
from ..targets.target import Target


def work(job: dict, emit) -> None:
    """Run the checks of a job, which names the target, the folders to search and the checks."""
    faulthandler.enable()
    import torch

    from . import run
    from .checks import every

    torch.set_num_threads(job["threads"])
    search_here(job["folders"])
    try:
        target = Target.from_dict(job["target"])
        target.loaded(), target.loaded_oracle()  # what takes long is not the first check's
        known = {check.name: check for check in every(target.dtypes)}
        shapes: dict[str, tuple[int, ...]] = {}
        for name in job["checks"]:
            emit({"begin": name})
            emit({"result": run.result(target, known[name], shapes).as_dict()})
    except NormsuiteError as error:
        emit(error_to_message(error))


if __name__ == "__main__":
    process.speak(work)
