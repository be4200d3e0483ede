"""A user's prepared call as a workload: timed and its bytes counted, with nothing known of what it computes."""

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import ModuleType

import torch

from ..errors import one_line
from ..targets.loading import ImportPathError, load, path_in
from .clock import Call
from .labels import HOST
from .operands import Operands
from .process_state import unchanged, why_not_silent
from .workload import Absent, CallFailed

KIND = "prepared"


@dataclass(frozen=True)
class PreparedTask:
    """The settings of a prepared call: its device. Gradients are switched on, and the call may switch them off.

    Attributes:
        device: "cpu" or the accelerator's name.
        host_time: as of a `Task`.
    """

    device: str = "cpu"
    host_time: bool = False
    gradients = True
    training = False


@dataclass(frozen=True)
class PreparedCall:
    """A function "module:name" that returns a call without arguments.

    Attributes:
        prepare: its import path.
        title: its name in tables.
        device: whose clock counts.
        host_time: on an accelerator, whether the time counts for which a call keeps the host.
        package: the version of its package that is called, the importable one where None.
    """

    prepare: str
    title: str
    device: str = "cpu"
    host_time: bool = False
    package: ModuleType | None = None

    @property
    def name(self) -> str:
        """Return its name among all workloads."""
        return f"{KIND}/{self.title}{f'/{HOST}' if self.host_time else ''}"

    @property
    def task(self) -> PreparedTask:
        """Return what is known of the task: its device, and whose time counts."""
        return PreparedTask(self.device, self.host_time)

    @property
    def module(self) -> str:
        """The module that it lies in."""
        return self.prepare.partition(":")[0]

    def of(self, package: ModuleType) -> "PreparedCall":
        """Return the same of another version of its package."""
        return replace(self, package=package)

    def ready(self, sets: Sequence[Operands | None]) -> list[Call]:
        """Return the call, after a first one.

        Raises:
            Absent: there is no such function, or it returns nothing that can be called.
            CallFailed: preparing or calling it raises an error.
        """
        try:
            prepare = load("prepare", self._path())
            if not callable(prepare):
                raise Absent(f"{self.prepare} cannot be called")
            with unchanged() as changed:
                call = prepare()
                if not callable(call):
                    raise Absent(f"{self.prepare} returns {type(call).__name__}, and no call without arguments")
                with contextlib.redirect_stdout(io.StringIO()) as printed:
                    call()
            if (reason := why_not_silent(printed)) is not None:
                raise Absent(reason)
            if changed:
                raise Absent(f"changes {changed[0]}")
        except ImportPathError as error:
            raise Absent(error.reason) from error
        except (Absent, torch.AcceleratorError):
            raise
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # of a user's code: the other workloads are measured all the same
            raise CallFailed(one_line(error)) from error
        return [call]

    def _path(self) -> str:
        return self.prepare if self.package is None else path_in(self.package.__name__, self.prepare)

    def as_dict(self) -> dict:
        """Return the workload for a record."""
        found = {"prepare": self.prepare, "title": self.title, "device": self.device}
        return {**found, **({"host_time": True} if self.host_time else {})}

    @classmethod
    def from_dict(cls, found: dict) -> "PreparedCall":
        """Return the workload that `as_dict` describes, also when it was stored as JSON."""
        return cls(found["prepare"], found["title"], found["device"], found.get("host_time", False))
