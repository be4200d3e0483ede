"""`normsuite numerics`: how many digits each norm loses."""

from typing import Annotated, Optional

import typer

from .. import vocabulary
from ..errors import ArgumentError
from ..files import writing
from ..records import kinds, results
from . import options
from .options import REPORTS, Device, Json, Norms, Out
from .output import print_tables, write_json


def numerics(
    targets: Annotated[
        Optional[list[str]],
        typer.Argument(metavar="TARGET", help="A norm of yours as module:Name, beside torch.nn; again for more."),
    ] = None,
    args: Annotated[str, options.arguments("Arguments of each TARGET: 768 or 4,64 or eps=1e-6.")] = "",
    like: Annotated[Optional[str], options.like("The norm that each TARGET is like.")] = None,
    shape: Annotated[Optional[str], options.shapes("Of the input of a TARGET, such as 8,197,768.")] = None,
    activation: Annotated[
        Optional[str],
        options.choice(
            "activation", vocabulary.ACTIVATIONS, "relu or silu behind the norm; of a TARGET, if it applies it."
        ),
    ] = None,
    dtype: Annotated[
        str, options.choice("dtype", vocabulary.DTYPES, "float32, bfloat16, float16 or float64.")
    ] = "float32",
    norm: Norms = None,
    device: Device = "cpu",
    out: Out = REPORTS / kinds.NUMERICS.folder,
    to: Json = None,
) -> None:
    """Measure the largest error of each norm and backend against float64, for inputs further and further from zero."""
    options.import_paths(targets)
    if not targets and (args or like or shape):
        raise ArgumentError(
            "args" if args else "like" if like else "shape",
            args or like or shape,
            "describes a TARGET, and none was given",
        )
    from .. import backends
    from ..machine import device as devices
    from ..measure import accuracy as measuring
    from ..measure.labels import BASELINE
    from ..measure.task import shape_case
    from ..numerics.run import run
    from ..numerics.tables import errors
    from ..spec import NORMS, find

    devices.check(device)
    if targets:
        from .target_norms import planned, responding

        own = [] if shape is None else [shape_case(shape)]
        targets = responding(targets, args=args, like=like, own=own)
        norm, (tried_case,), computing = planned(
            targets, args=args, like=like, norms=norm, own=own, backends=[BASELINE]
        )
    else:
        tried_case = measuring.SHAPE
        computing = [name for name in backends.NAMES if name != "auto"]  # which is one of the others
    writing.output_folder(out, "out")
    specs = [find(name) for name in norm] if norm else list(NORMS.values())
    record = run(specs, computing, tried_case, device=device, dtype=dtype, activation=activation)
    results.write_record(
        out, f"{kinds.NUMERICS.what}-{device}-{results.digest(writing.to_json(record))}".replace(":", "-"), record
    )
    if to is not None:
        write_json(record, to)
    if to != "-":
        print_tables(errors(record))


COMMANDS = (numerics,)
