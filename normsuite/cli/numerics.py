"""`normsuite numerics`."""

from pathlib import Path
from typing import Annotated, Optional

import typer
from rich.table import Table

from .. import results
from ..errors import UnsupportedError
from .shared import REPORTS, Json, console, write_json


def numerics(
    norm: Annotated[Optional[list[str]], typer.Option(help="A norm; again for more. All where left out.")] = None,
    device: Annotated[str, typer.Option(help="cpu, or an accelerator such as cuda.")] = "cpu",
    out: Annotated[Path, typer.Option(help="Where the record goes.")] = REPORTS / "numerics",
    to: Json = None,
) -> None:
    """Largest error of each norm and backend against float64, for inputs further and further from zero."""
    import torch

    from .. import backends
    from .. import device as devices
    from ..measure import accuracy as measuring
    from ..measure.cases import SEED
    from ..measure.workload import named
    from ..spec import NORMS, find

    devices.check(device)
    results.output_folder(out, "out")
    computing = [name for name in backends.NAMES if name != "auto"]  # which is one of the others
    specs = [find(name) for name in norm] if norm else list(NORMS.values())
    rows = []
    for spec in specs:
        for mean in measuring.MEANS:
            for backend in computing:
                try:
                    tried = named(spec.name, backend, measuring.SHAPE, device=device)
                    output, gradient = measuring.errors(tried, mean=mean)
                except UnsupportedError as error:
                    output = gradient = error.reason
                rows.append(
                    {"norm": spec.name, "mean": mean, "backend": backend, "output": output, "gradient": gradient}
                )
    measured = results.environment(threads=torch.get_num_threads(), accelerator=devices.name(device))
    case = {"shape": measuring.SHAPE.shape, "dtype": "float32", "device": device}
    record = results.make_record("numerics", case, rows, environment=measured, seeds=[SEED])
    results.write_record(out, f"numerics-{device}-{results.digest(results.to_json(record))}".replace(":", "-"), record)
    if to is not None:
        write_json(record, to)
        return
    table = Table(
        "norm",
        "input mean",
        *(f"{what}, {backend}" for what in ("output", "gradient") for backend in computing),
        title=f"float32, {measuring.SHAPE.name}, deviation 1: largest error relative to the root mean square",
    )
    for spec in specs:
        for mean in measuring.MEANS:
            here = [row for row in rows if (row["norm"], row["mean"]) == (spec.name, mean)]
            cells = [row[what] for what in ("output", "gradient") for row in here]
            shown = [f"{cell:.1e}" if isinstance(cell, float) else cell for cell in cells]
            table.add_row(spec.name, f"{mean:g}", *shown)
    console.print(table)
