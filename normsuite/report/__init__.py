"""The report: one self-contained HTML page, made from records alone. Imports no torch.

collect reads what was recorded; tables and charts turn it into strings; render puts them into the page.
"""

from pathlib import Path

from .. import results
from .collect import collect
from .render import render


def write(source: Path, out: Path, *, commit: str | None = None) -> tuple[Path, list[str]]:
    """Write `out/index.html` from the records under `source`.

    Args:
        source: a folder with `study/` (the study's records), `bench/` (the comparison with the alternatives) and
            `asv/results/` (asv's), any of which may be absent: the report then says what to run.
        out: the page's folder, made if need be.
        commit: the start of the hash of the commit whose cost is shown; the one measured last where left out.

    Returns:
        The page, and one line for everything that is missing or could not be read.

    Raises:
        ArgumentError: that commit was not measured.
        OutputError: the page cannot be written.
        DataError: asv's list of benchmarks is damaged.
    """
    collected = collect(source, commit)
    results.output_folder(out, "out")
    return results.write_text(out / "index.html", render(collected)), collected.notes
