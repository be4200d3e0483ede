"""Try everything on an accelerator, in ten minutes: `python -m tools.accelerator --seconds 600 --out reports`.

Every norm, layout, type and activation against float64, whether 20 runs give the same bits, and so does a step in which
input, weight or bias asks for no gradient; then `normsuite bench`, the study and the gate against HEAD~1, and
the report of it all. Records are written as tasks finish, the most important first. A step that cannot run says why.
The command ends with 1 if a norm was wrong, and with 2 where there is no accelerator.
"""

import argparse
import itertools
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path

import torch

from normsuite import backends, functional
from normsuite.errors import NormsuiteError, UnsupportedError
from normsuite.machine import device as devices
from normsuite.measure.cases import Case
from normsuite.measure.implementations import choose
from normsuite.measure.operands import Operands
from normsuite.measure.task import ACTIVATIONS, EPS, Task
from normsuite.spec import NORMS

BACKENDS = ("triton", "auto")
RUNS = 20
DTYPES_TRIED = ("float32", "bfloat16", "float16")

BOUNDS = {"float32": 1e-5, "bfloat16": 8 * 2**-7, "float16": 8 * 2**-10}
"""Bounds of the largest error of y, dx and the gradients of weight and bias, over their root mean square."""

SHAPES = (
    Case("maps", (8, 64, 28, 28), 32, "maps"),
    Case("maps-nhwc", (8, 64, 28, 28), 32, "the same in channels_last", channels_last=True),
    Case("large-maps", (2, 64, 128, 128), 32, "groups of two channels of 16,384 places"),
    Case("odd", (3, 12, 7, 5), 4, "sizes that are no powers of two"),
    Case("volume-nhwc", (2, 32, 9, 10, 11), 8, "volumes in channels_last", channels_last=True),
    Case("rows", (64, 4097), 1, "long rows", normalized_shape=(4097,)),
    Case("shared-rows", (64, 12288), 1, "rows of which two programs write a half", normalized_shape=(12288,)),
    Case("long-rows", (4, 65536), 1, "few rows, too long to stay in registers", normalized_shape=(65536,)),
    Case("tokens", (2, 197, 768), 1, "tokens", normalized_shape=(768,)),
)

GATE_S, STUDY_S, REPORT_S = 75.0, 60.0, 20.0
"""Seconds kept for what follows the bench."""

STOP_S = 15.0
"""Seconds that a command gets to write what it has, once its time is over."""

CORRECTNESS_SHARE = 0.2


@dataclass(frozen=True)
class Tried:
    """One backend on one task: largest error over what was bound, and whether all runs gave the same bits."""

    title: str
    errors: dict[str, float]
    bound: float
    same_bits: bool
    same_when_frozen: bool = True

    @property
    def wrong(self) -> bool:
        """Return whether an error is above its bound, or two runs or a step with fewer gradients gave other bits."""
        exact = self.same_bits and self.same_when_frozen
        return not exact or any(not error <= self.bound for error in self.errors.values())

    def __str__(self) -> str:
        shown = ", ".join(f"{name} {error:.1e}" for name, error in self.errors.items())
        other = "" if self.same_bits else ", other bits in other runs"
        other += "" if self.same_when_frozen else ", other gradients where one is not asked for"
        return f"{self.title}: {shown} (bound {self.bound:.0e}){other}"


def tasks(device: str) -> Iterator[Task]:
    """Yield every norm that torch.nn has, on every shape, type and activation, as a step.

    Of norms with running statistics evaluation is tried too. Every shape comes without an activation in every type
    first.
    """
    specs = [spec for spec in NORMS.values() if spec.torch_call]
    for activation, dtype, case, spec in itertools.product(ACTIVATIONS, DTYPES_TRIED, SHAPES, specs):
        if case.suits(spec):
            yield Task(spec, case, "step", activation, dtype, device)
            if spec.running == "always":
                yield Task(spec, case, "evaluation", activation, dtype, device)


def tried(task: Task, backend: str, *, runs: int = RUNS) -> Tried:
    """Try a backend on a task, `runs` times.

    Raises:
        UnsupportedError: it does not compute such a task.
    """
    (implementation,) = (c for c in choose([backend]) if c.label == backend)
    given = task.operands()
    with torch.set_grad_enabled(task.gradients):
        call = implementation.prepare(task, given)
        first = implementation.tensors(call())
        same = all(_same(first, implementation.tensors(call())) for _ in range(runs - 1))
        names = ("y", "dx", "dweight", "dbias")[: len(first)]
        true = _true(task, given, first[0])
    errors = {name: _error(*pair) for name, pair in zip(names, zip(first, true, strict=True), strict=True)}
    kind = " channels_last" if task.case.channels_last else ""
    activation = f" {task.activation}" if task.activation else ""
    title = (
        f"{backend} {task.spec.name} {'×'.join(map(str, task.case.shape))}{kind} {task.dtype} {task.mode}{activation}"
    )
    return Tried(title, errors, BOUNDS[task.dtype], same, not task.gradients or _same_when_frozen(task, given, backend))


def _same_when_frozen(task: Task, given: Operands, backend: str) -> bool:
    """Return whether gradients are the same, bit for bit, where one of input, weight and bias asks for none.

    Kernels that were queued before with all of them are not those that such a step needs.
    """
    names = [name for name in ("input", "weight", "bias") if getattr(given, name) is not None]
    whole = _gradients(task, given, backend, names)
    for frozen in names:
        some = _gradients(task, given, backend, [name for name in names if name != frozen])
        if not all(torch.equal(whole[name], gradient) for name, gradient in some.items()):
            return False
    return True


def _gradients(task: Task, given: Operands, backend: str, names: list[str]) -> dict[str, torch.Tensor]:
    """Return the gradients of the named operands in a step in which no other asks for one."""
    tensors = {
        name: None if t is None else t.detach().requires_grad_(name in names)
        for name, t in (("input", given.input), ("weight", given.weight), ("bias", given.bias))
    }
    y = functional.normalize(
        task.spec,
        **tensors,
        use_input_stats=task.training,
        eps=EPS,
        num_groups=task.num_groups,
        normalized_shape=task.normalized_shape,
        activation=task.activation,
        backend=backend,
    )
    return dict(zip(names, torch.autograd.grad(y, [tensors[name] for name in names], given.dy), strict=True))


def _true(task: Task, given: Operands, y: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Return the formula's results in float64.

    The slope of relu jumps at 0: the side that `y` took is taken.
    """
    wide = [
        None if t is None else t.detach().double().requires_grad_(task.gradients)
        for t in (given.input, given.weight, given.bias)
    ]
    running_mean, running_var = (None if t is None else t.double() for t in task.running())
    relu = task.activation == "relu"
    found = functional.normalize(
        task.spec,
        *wide,
        running_mean=running_mean,
        running_var=running_var,
        use_input_stats=task.training,
        eps=EPS,
        num_groups=task.num_groups,
        normalized_shape=task.normalized_shape,
        activation=None if relu else task.activation,
        backend="reference",
    )
    gradients = ()
    if task.gradients:
        dy = given.dy.double() * (y > 0) if relu else given.dy.double()
        gradients = torch.autograd.grad(found, [t for t in wide if t is not None], dy)
    return (found.relu() if relu else found, *gradients)


def _error(found: torch.Tensor, true: torch.Tensor) -> float:
    if not bool(torch.isfinite(found).all()):
        return float("inf")
    return float((found.detach().double() - true.detach()).abs().max() / true.detach().square().mean().sqrt())


def _same(left, right) -> bool:
    return all(torch.equal(a, b) for a, b in zip(left, right, strict=True))


def correctness(device: str, seconds: float, record: Path) -> int:
    """Print what is wrong, and how much was tried; return how many were wrong.

    Args:
        device: the accelerator.
        seconds: for all of it.
        record: gets a JSON line for each task as it ends.
    """
    record.parent.mkdir(parents=True, exist_ok=True)
    record.write_text("", encoding="utf-8")
    end, done, wrong = time.monotonic() + seconds, 0, 0
    refused: dict[str, str] = {}
    waiting = [(task, backend) for task in tasks(device) for backend in BACKENDS]
    total = len(waiting)
    while waiting and time.monotonic() < end:
        task, backend = waiting.pop(0)
        reason = backends.why_not_loaded(backend)
        if reason is None:
            try:
                found = tried(task, backend)
            except UnsupportedError as error:
                reason = error.reason
            except torch.AcceleratorError:  # the device is lost
                raise
            except Exception as error:  # of a compiler or the driver: the others are tried too
                found = None
                wrong += 1
                title = f"{backend} {task.spec.name} {task.case.name} {task.dtype}"
                print(f"wrong: {title}: {type(error).__name__} {error}")
                _add(record, {"title": title, "failed": f"{type(error).__name__} {error}"})
        if reason is not None:
            refused.setdefault(backend, reason)
            continue
        done += 1
        if found is not None:
            _add(record, asdict(found))
            if found.wrong:
                wrong += 1
                print(f"wrong: {found}", flush=True)
    for backend, reason in refused.items():
        print(f"{backend}: not tried everywhere ({reason})")
    left = f"; {len(waiting)} were not reached in {seconds:.0f} s" if waiting else ""
    print(f"correctness: {done} of {total} tried, {RUNS} runs each, {wrong} wrong{left}", flush=True)
    return wrong


def _add(record: Path, line: dict) -> None:
    with record.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def command(title: str, arguments: list[str], seconds: float, *, needs: tuple[str, ...] = ()) -> bool:
    """Run a command of normsuite's and print its end; what it needs and lacks, or the time it had, is said."""
    missing = [package for package in needs if find_spec(package) is None]
    if missing:
        print(f"{title}: not available ({', '.join(missing)} not installed)", flush=True)
        return False
    if seconds < 1:
        print(f"{title}: not available (no time left)", flush=True)
        return False
    print(f"{title}: normsuite {' '.join(arguments)}", flush=True)
    with subprocess.Popen([sys.executable, "-m", "normsuite", *arguments]) as running:
        try:
            code = running.wait(max(1.0, seconds - STOP_S))
        except subprocess.TimeoutExpired:
            running.send_signal(signal.SIGINT)  # a gate writes its record at its end
            try:
                running.wait(STOP_S)
            except subprocess.TimeoutExpired:
                running.kill()
            print(f"{title}: stopped after {seconds:.0f} s; what it had finished is kept", flush=True)
            return False
    if code:
        print(f"{title}: ended with {code}", flush=True)
    return code == 0


def main(arguments: list[str] | None = None) -> int:
    """Try the norms, run the commands within the given seconds, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--seconds", type=float, default=600.0, help="for everything")
    parser.add_argument("--out", type=Path, default=Path("reports"), help="where records and pages go")
    parser.add_argument("--device", default="cuda")
    asked = parser.parse_args(arguments)
    try:
        devices.check(asked.device)
        if asked.device == "cpu":
            raise NormsuiteError("device = 'cpu': this is for an accelerator")
    except NormsuiteError as error:
        print(f"accelerator: {error}", file=sys.stderr)
        return 2
    end = time.monotonic() + asked.seconds

    def left(*kept: float) -> float:
        return end - time.monotonic() - sum(kept)

    later = (GATE_S, STUDY_S, REPORT_S) if asked.seconds >= 300 else (0.0, 0.0, min(REPORT_S, asked.seconds / 10))
    print(f"{devices.name(asked.device)}, {devices.driver(asked.device)}", flush=True)
    there, out = ["--device", asked.device], asked.out
    wrong = correctness(asked.device, CORRECTNESS_SHARE * asked.seconds, out / "correctness.jsonl")
    budget = max(1.0, left(*later) - 10)  # the last task begins before its end
    bench = ["bench", *there, "--budget", f"{budget:.0f}", "--out", str(out / "bench")]
    command("bench", bench, left(*later) + 10)
    gate = ["gate", "HEAD~1", *there, "--budget", f"{GATE_S - 20:.0f}s", "--out", str(out / "gate")]
    command("gate", gate, min(GATE_S, left(*later[1:])), needs=("numba",))
    study = ["study", "--preset", "quick", "--seeds", "1", *there, "--out", str(out / "study")]
    command("study", study, min(STUDY_S, left(*later[2:])), needs=("torchvision",))
    report = ["report", "--from", str(out), "--out", str(out / "html")]
    command("report", report, left(), needs=("asv", "matplotlib"))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
