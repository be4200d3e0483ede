"""Results of one benchmark over commits, as asv's own writer stores them."""

from datetime import UTC, datetime
from types import SimpleNamespace

from asv.benchmarks import Benchmarks
from asv.config import Config
from asv.machine import Machine
from asv.results import Results


def write(folder, series, *, unit="seconds", torch="2.14.1", cpu="A processor", commits=None, first_day=0, host="host"):
    """Store a benchmark named `Series.track` with one parameter, a value for each commit."""
    config = Config()
    config.results_dir = str(folder)
    benchmark = {
        "name": "latency.Series.track", "params": [[f"'{name}'" for name in series]], "param_names": ["norm"],
        "unit": unit, "version": "1", "type": "track", "code": "",
    }  # fmt: skip
    Benchmarks(config, [benchmark]).save()
    machine = Machine()
    machine.__dict__.update(machine=f"{host}-{cpu}", cpu=cpu, num_cpu="2", os="Linux", arch="x86_64", ram="1")
    machine.save(str(folder))
    length = len(next(iter(series.values())))
    for number in range(length):
        commit = commits[number] if commits else f"{number + 1:08x}" + 32 * "0"
        result = Results(
            {**machine.__dict__, "python": "3.11", "torch": torch}, {}, commit, number * 86_400_000, "3.11",
            f"venv-{torch}", {},
        )  # fmt: skip
        values = [of[number] for of in series.values()]
        none = [None] * len(values)
        given = SimpleNamespace(result=values, samples=none, number=none, errcode=0, stderr="", profile=None)
        started = datetime.fromtimestamp(86_400 * (first_day + number), tz=UTC)
        result.add_result(benchmark, given, started_at=started)
        result.save(str(folder))
    return folder
