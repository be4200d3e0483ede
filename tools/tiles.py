"""Try other tile constants of the Triton kernels on an accelerator, one at a time, beside those that it has.

    python -m tools.tiles --seconds 600 --out tiles.jsonl            # on the accelerator
    python -m tools.tiles --only 'wave*' --case unet-64              # one constant, one case

Each constant of a `Family` is tried at half and at twice its value, on those of an accelerator's own cases whose
launches that changes, which is known without running them. Both are captured as graphs and timed in turn (A B B A). A
line is written for each constant and case once it is measured, and what the file has is not measured again; in the end
the geometric mean of each constant's ratios is printed. Nothing is changed: what is better on most cases and spills
nowhere (`python -m tools.kernel_proof`) is then written into `normsuite/backends/triton/tiles.py`.
"""

import argparse
import fnmatch
import json
import math
import random
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import torch

from normsuite import fast_path, statistics
from normsuite.backends.triton import operator, tiles
from normsuite.backends.triton.tiles import Family
from normsuite.errors import NormsuiteError
from normsuite.files import reading
from normsuite.machine import device as devices
from normsuite.measure import clock, device_clock, pairs, workload
from normsuite.measure.task import Task, plan
from normsuite.measure.workload import Absent

from . import kernel_proof

OF_THE_DEVICE = ("shared_bytes", "registers", "warp_threads", "most_threads", "cached_bytes")
"""Constants that say what a device has."""

FACTORS = (0.5, 2)
BLOCKS, LONGEST_S = 30, 2.0
MODES = ("forward", "backward")


def candidates(family: Family, only: str = "*") -> Iterator[tuple[str, float, Family]]:
    """Yield each constant's name, another value of it, and the family that has it."""
    for name, value in asdict(family).items():
        if name in OF_THE_DEVICE or not fnmatch.fnmatchcase(name, only):
            continue
        for factor in FACTORS:
            other = 1 + (value - 1) * factor if isinstance(value, float) else max(1, round(value * factor))
            if other != value:
                yield name, other, replace(family, **{name: other})


def changes(task: Task, capability: int, family: Family, other: Family) -> bool:
    """Return whether the task's kernels are launched otherwise with another family of constants.

    Args:
        task: forward or backward, whose launches are those of a step.
        capability: of the device, 90 for sm_90.
        family, other: the two.
    """
    mode = "step" if task.mode == "backward" else task.mode
    subject = kernel_proof.ProvenCall(
        task.spec.name,
        task.case.shape if task.normalized_shape is None else (-1, math.prod(task.normalized_shape)),
        mode,
        task.dtype,
        task.case.channels_last,
        task.activation,
    )
    if task.normalized_shape is not None:
        rows = math.prod(task.case.shape) // subject.shape[1]
        subject = replace(subject, shape=(rows, subject.shape[1]))
    return _launched(subject, capability, family) != _launched(subject, capability, other)


def _launched(subject: kernel_proof.ProvenCall, capability: int, family: Family) -> list[str]:
    """Return the launches as text: kernels, numbers of programs, sizes and options."""
    return [
        f"{kernel.__name__} {grid} {[(name, of) for name, of in given.items() if not isinstance(of, torch.Tensor)]} "
        f"{sorted(options.items())}"
        for kernel, grid, given, options in kernel_proof.launches(subject, capability, family)
    ]


@contextmanager
def launched_with(family: Family) -> Iterator[None]:
    """Let kernels be launched with those constants within the block."""
    before = tiles.family_of

    def given(device: torch.device) -> Family:
        return family

    tiles.family_of = given  # type: ignore[assignment]
    _forget()
    try:
        yield
    finally:
        tiles.family_of = before
        _forget()


def _forget() -> None:
    """Forget launches and checked calls, which have the constants of their first call."""
    operator.settings.cache_clear()
    fast_path.checked_calls.clear()


def captured(task: Task, family: Family, device: device_clock.Device, sets: Sequence) -> clock.Timer:
    """Return a timer of the task's calls by the kernels, launched with those constants."""
    with launched_with(family), torch.set_grad_enabled(task.gradients):
        calls = workload.named(
            task.spec.name,
            "triton",
            task.case,
            task.mode,
            activation=task.activation,
            dtype=task.dtype,
            device=task.device,
        ).ready(sets)
        device_clock.warm_up(calls, device)
        return device_clock.captured(calls, device)


def log_ratio(base: clock.Timer, other: clock.Timer) -> float:
    """Return the logarithm of the other's device time over that of the base, timed in turn."""
    return pairs.compare(base, other, blocks=BLOCKS, longest_s=LONGEST_S, draw=random.Random(0)).log_ratio


def summary(lines: Sequence[dict]) -> list[str]:
    """Return a line for each constant and value: how many cases, and the geometric mean of its ratios to the present.

    The interval is over cases, as a sample of all.
    """
    by_value: dict[tuple[str, float], list[float]] = {}
    for line in lines:
        if line["log_ratio"] is not None:
            by_value.setdefault((line["constant"], line["value"]), []).append(line["log_ratio"])
    said = []
    for (name, value), logs in sorted(by_value.items()):
        of = statistics.exponential(statistics.mean_interval(logs))
        best, worst = math.exp(min(logs)), math.exp(max(logs))
        said.append(
            f"{name} = {value:g}: {of.value:.3f} [{of.low:.3f}, {of.high:.3f}] of the present time over {len(logs)} "
            f"cases, from {best:.3f} to {worst:.3f}"
        )
    return said


def measure(device: str, out: Path, *, only: str, names: Sequence[str], seconds: float) -> list[dict]:
    """Measure what is missing in the file for so long, and return all of its lines."""
    lines = [json.loads(line) for line in reading.read_text(out).splitlines()] if out.exists() else []
    done = {(line["constant"], line["value"], line["task"]) for line in lines}
    end, runtime = time.monotonic() + seconds, device_clock.accelerator(device)
    there = torch.device(device)
    major, minor = torch.cuda.get_device_capability(there)
    family = tiles.family_of(there)
    for task in plan(names=names, modes=MODES, device=device):
        name = f"{task.spec.name}/{task.case.name}/{task.mode}/{task.activation}/{task.dtype}"
        wanted = [
            (constant, value, other)
            for constant, value, other in candidates(family, only)
            if (constant, value, name) not in done and changes(task, 10 * major + minor, family, other)
        ]
        if not wanted:
            continue
        try:
            sets = workload.sets(task, held=2)
        except Absent as reason:
            print(f"{name}: {reason}", file=sys.stderr)
            continue
        for constant, value, other in wanted:
            if time.monotonic() > end:
                return lines
            line = {"constant": constant, "value": value, "task": name, "log_ratio": None, "reason": None}
            try:
                base = captured(task, family, runtime, sets)
                line["log_ratio"] = log_ratio(base, captured(task, other, runtime, sets))
            except torch.AcceleratorError:  # the device is lost for this process
                raise
            except (RuntimeError, NormsuiteError, Absent) as error:  # too much shared memory, say
                line["reason"] = " ".join(str(error).split())[:200]
            finally:
                runtime.release()
            lines.append(line)
            with out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
    return lines


def main() -> None:
    """Try the constants, and print what each would change."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--only", default="*", help="constants by pattern")
    parser.add_argument("--case", action="append", default=[], help="of an accelerator's size, by name")
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--out", type=Path, default=Path("tiles.jsonl"))
    given = parser.parse_args()
    try:
        devices.check(given.device)
    except NormsuiteError as error:
        sys.exit(f"{parser.prog}: {error}")
    lines = measure(given.device, given.out, only=given.only, names=given.case, seconds=given.seconds)
    print("\n".join(summary(lines)))


if __name__ == "__main__":
    main()
