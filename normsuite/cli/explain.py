"""`normsuite explain`: the document's figures, computed again."""

from dataclasses import asdict

from .options import Json, NormArgument, Norms
from .output import line, print_tables, write_json


def explain(
    norm: NormArgument = None,
    norms: Norms = None,
    to: Json = None,
) -> None:
    """Show what each norm averages over, and check the lesson's worked example figure by figure."""
    from ..lesson import explain as explanation
    from ..lesson.tables import figures
    from ..spec import NORMS, find

    wanted = [name for name in (norm, *(norms or ())) if name is not None]
    specs = [find(name) for name in dict.fromkeys(wanted)] or list(NORMS.values())
    rows = {spec.name: explanation.explain(spec) for spec in specs}
    if to is not None:
        write_json([asdict(row) for of_norm in rows.values() for row in of_norm], to)
    if to == "-":
        return
    for spec in specs:
        line(f"\n{spec.name}: {spec.shared} per letter")
        line(explanation.drawing(spec))
        print_tables(figures(rows[spec.name]))


COMMANDS = (explain,)
