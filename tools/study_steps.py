"""Whole training steps of the study with each backend: an epoch is nothing but such steps.

The same network with the same digits, a backend each, trained in turn in fresh processes, as all of the bench is.
"""

import random
from collections.abc import Callable, Sequence

import torch

from normsuite import statistics
from normsuite.errors import NormsuiteError
from normsuite.measure import listening, process
from normsuite.measure.operands import SEED
from normsuite.measure.schedule import TimedCall, interleave
from normsuite.records import provenance, results
from normsuite.spec import NORMS, find

BASELINE = "torch"
BACKENDS = (BASELINE, "numba", "auto")
WHAT = "bench-study"
SECONDS = 3.0
LIMIT_S = 600.0
"""How long a process may take for one norm."""


def run(
    norms: Sequence[str] = (),
    *,
    processes: int,
    threads: int,
    on_norm: Callable[[str], None] = lambda norm: None,
) -> dict:
    """Return one record: seconds of a training step, for each process, norm and backend one a round.

    Args:
        norms: names; all that torch.nn has where left out.
        processes: fresh ones.
        threads: of each.

    Raises:
        UnknownNameError: no such norm.
        NormsuiteError: a process failed; the message has the last that it said.
    """
    specs = [find(name) for name in norms] or [spec for spec in NORMS.values() if spec.torch_call]
    found: dict[str, list[dict]] = {spec.name: [] for spec in specs}
    for number in range(processes):
        job = {"norms": [spec.name for spec in specs], "number": number, "threads": threads}
        try:
            command, environment = ["-m", __spec__.name], process.variables(threads)
            for message in listening.messages(command, job, environment, first_s=LIMIT_S, limit_s=LIMIT_S):
                found[message["norm"]].append(message["times_s"])
                on_norm(message["norm"])
        except process.Died as died:
            raise NormsuiteError(f"a measuring process ended with {died}") from died
    measured = provenance.environment(threads=threads)
    case = {"norms": list(found), "backends": list(BACKENDS), "processes": processes}
    return results.make_record(WHAT, case, found, environment=measured, seeds=[SEED])


def ratios(record: dict) -> dict[str, dict[str, statistics.Interval]]:
    """Return for each norm and backend the time of a step over its time with torch's calls; below 1 is faster.

    "all" has the geometric mean over the norms.
    """
    others = [name for name in record["case"]["backends"] if name != BASELINE]
    logs = {
        norm: {
            name: [statistics.paired_log_ratio(times[name], times[BASELINE]) for times in processes] for name in others
        }
        for norm, processes in record["samples"].items()
    }
    table = {norm: {name: statistics.ratio_interval(of[name]) for name in others} for norm, of in logs.items()}
    table["all"] = {name: statistics.geometric_mean_interval([of[name] for of in logs.values()]) for name in others}
    return table


def _work(job: dict, emit: Callable[[dict], None]) -> None:
    from normsuite.study import digits, train

    torch.set_num_threads(job["threads"])
    draw = random.Random(job["number"])
    data = digits.load()
    for norm in draw.sample(job["norms"], len(job["norms"])):
        timed_calls = []
        for backend in BACKENDS:
            settings = train.Run(norm, SEED, epochs=1, backend=backend)
            images, labels = data.train_images[: settings.batch_size], data.train_labels[: settings.batch_size]
            call = train.stepper(settings, images, labels)
            call()
            timed_calls.append(TimedCall(backend, "openmp", call))
        times_s = interleave(timed_calls, control="", seconds=SECONDS, draw=draw, waits_s={}, always=BACKENDS, most=500)
        emit({"norm": norm, "times_s": times_s})


if __name__ == "__main__":
    process.speak(_work)
