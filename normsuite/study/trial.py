"""Try a target in the study's network before anything is trained, in a process of its own, which it may end."""

from contextlib import closing

import torch

from ..conventions.raised import raised_as
from ..errors import NormsuiteError
from ..measure import listening, process
from ..measure.process_state import unchanged
from ..targets.build import TargetError
from ..targets.loading import import_folders, search_here
from ..targets.messages import error_of_message, error_to_message
from ..targets.target import Target
from . import network, target_norms, train

LIMIT_S = 120.0
"""How long it may take, the start of the process included."""


def of(target: Target, num_groups: int) -> None:
    """Try a target for every size of map, and the whole network forward, backward and in evaluation mode.

    Raises:
        NormsuiteError: it cannot be made, raises an error, returns something else than a tensor like its input, hangs,
            or ends its process; the message names it.
    """
    job = {"target": target.as_dict(), "num_groups": num_groups, "folders": import_folders()}
    with process.fresh(["-m", __name__], process.variables(1)) as one:
        try:
            with closing(listening.heard(one, job, first_s=LIMIT_S, limit_s=LIMIT_S)) as messages:
                message = next(messages, None)
        except listening.Ended as ended:
            raise TargetError(f"{target.title} {ended.how('ends its process')}") from None
    if message is None:
        raise TargetError(f"{target.title} ends its process")
    if "error" in message:
        raise error_of_message(message)


def _work(job: dict, emit) -> None:
    search_here(job["folders"])
    torch.set_num_threads(1)
    target = Target.from_dict(job["target"])
    try:
        with unchanged() as changed:
            _try_all(target, job["num_groups"])
        if changed:  # for all runs that its process does
            raise TargetError(f"{target.title} changes {changed[0]}")
    except NormsuiteError as error:
        emit(error_to_message(error))
    else:
        emit({"able": True})


def _try_all(target: Target, num_groups: int) -> None:
    with raised_as(lambda said: TargetError(f"{target.title} fails in the study's network: {said}"), NormsuiteError):
        for channels, size in dict.fromkeys(network.maps()):
            target_norms.try_out(target, channels, size, num_groups)
        made = network.build(target, seed=0, num_groups=num_groups)
        network.parameter_counts(made)
        images = torch.randn(2, 1, 28, 28)
        made(images).sum().backward()
        train.predict(made, images)


if __name__ == "__main__":
    process.speak(_work)
