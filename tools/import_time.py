"""Measure `import normsuite` with its modules beside `import torch`: fresh processes in turn, medians.

    python -m tools.import_time --processes 20

Ends with exit code 1 where the ratio is above `--limit`. Processor time decides: a busy machine changes it little.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
STATEMENTS = {
    "torch": "import torch",
    "normsuite": "import torch, normsuite.functional, normsuite.modules",
    "normsuite alone": "import normsuite",
}


def import_s(statement: str) -> tuple[float, float]:
    """Return the processor's and the clock's seconds of a fresh process that runs the statement."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], check=True, cwd=ROOT, env=environment)
    after, wall_s = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter() - begun
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall_s


def main() -> int:
    """Print medians and ratios; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--processes", type=int, default=20, help="of each statement")
    parser.add_argument("--limit", type=float, default=1.1, help="of the ratio")
    given = parser.parse_args()
    for statement in STATEMENTS.values():
        import_s(statement)  # writes what is compiled
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in STATEMENTS}
    for _ in range(given.processes):
        for name, statement in STATEMENTS.items():
            taken[name].append(import_s(statement))
    ratios = []
    for place, kind in enumerate(("processor", "wall clock")):
        medians = {name: statistics.median(sample[place] for sample in samples) for name, samples in taken.items()}
        ratios.append(medians["normsuite"] / medians["torch"])
        shown = ", ".join(f"{name} {seconds:.3f} s" for name, seconds in medians.items())
        print(f"{kind}: {shown}; normsuite / torch = {ratios[-1]:.3f}")
    return int(ratios[0] > given.limit)


if __name__ == "__main__":
    sys.exit(main())
