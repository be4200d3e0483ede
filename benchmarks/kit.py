"""The measuring kit of this checkout, which measures whatever version of normsuite is installed.

asv installs one commit after the other and runs these benchmarks with each. All commits, also those from before there
was a kit, are to be measured by the same clock, schedule and operands: so the kit is loaded from here under a name of
its own. Of the installed version only the public functions and modules are called.
"""

import importlib
import importlib.util
import sys
from contextlib import suppress
from pathlib import Path

import normsuite

_NAME = "normsuite_kit"
_ROOT = Path(__file__).resolve().parent.parent / "normsuite"

if Path(normsuite.__file__).resolve().parent == _ROOT:
    package = normsuite  # the checkout itself is installed
elif _NAME in sys.modules:
    package = sys.modules[_NAME]
else:
    _spec = importlib.util.spec_from_file_location(
        _NAME, _ROOT / "__init__.py", submodule_search_locations=[str(_ROOT)]
    )
    package = sys.modules[_NAME] = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(package)


def _of_kit(name):
    return importlib.import_module(f"{package.__name__}.measure.{name}")


accuracy, cases, clock, memory, metric, workload = map(
    _of_kit, ("accuracy", "cases", "clock", "memory", "metric", "workload")
)
ours = _of_kit("implementations.ours")
own_workloads = _of_kit("own_workloads")
backends = importlib.import_module(f"{package.__name__}.backends")


def prepared(norm, implementation, case, mode, device, dtype="float32"):
    """Return a workload of the installed version, its calls, and the first set of its operands.

    Raises:
        NotImplementedError: this commit or this machine cannot do it, which asv shows as n/a.
    """
    clock.open_device(device)
    try:
        found = workload.named(norm, implementation, case, mode, dtype=dtype, device=device).of(installed())
        sets = workload.sets(found.task)
        return found, found.ready(sets), sets[0]
    except workload.Absent as reason:
        raise NotImplementedError(str(reason)) from None


def installed():
    """Return the installed version, with what is public of it imported."""
    for name in ("functional", "backends", "modules"):
        with suppress(ModuleNotFoundError):
            importlib.import_module(f"normsuite.{name}")
    return normsuite
