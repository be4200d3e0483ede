"""Keep what pages show of benches of one processor: means, and the verdict on `auto` in each task, without the times.

    python -m tools.bench_summary intel-6-167-avx512 reports/bench elsewhere=reports/other 1-thread=reports/one

It is written to reports/reference/bench-summary-of-NAME.jsonl.xz, one member a folder, each after the first with the
word that stands before it. What was kept under that name before is replaced.
"""

import argparse
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from normsuite.bench import summary
from normsuite.errors import NormsuiteError
from normsuite.files import writing
from normsuite.measure.labels import BOUND
from normsuite.records import compact, kinds, results

from .page_benches import REFERENCE

SHOWN = ("norm", "case", "mode", "activation", "tiny", "implementation", "ratio", "verdict")
"""What is kept of a row."""

LEFT_OUT = ("geometric_means_to_copy", "geometric_means_of_host_time")
DIGITS = 4


def of_folder(folder: Path) -> dict:
    """Return the summary of the one bench in a folder.

    Raises:
        NormsuiteError: there is none, or there are several.
    """
    found = summary.benches(results.read_records(folder, kinds.BENCH.what).good)
    if len(found) != 1:
        raise NormsuiteError(f"{folder} has {len(found)} benches; one is kept")
    whole = found[0].as_dict()
    of = {name: value for name, value in whole["summary"].items() if name not in LEFT_OUT}
    means = of["geometric_means_to_torch_nn"]
    of["geometric_means_to_torch_nn"] = [m for m in means if m["implementation"] in (summary.AUTO, BOUND)]
    rows = [{name: row[name] for name in SHOWN} for row in whole["rows"] if row["implementation"] == summary.AUTO]
    kept = {name: whole[name] for name in ("environment", "settings", "dtype", "tasks")}
    return _rounded({**kept, "rows": rows, "summary": of, "notes": []})


def _rounded(value):
    """Return a JSON value with numbers of `DIGITS` digits, and NaN and infinities as text."""
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else str(value)
    if isinstance(value, Mapping):
        return {name: _rounded(of) for name, of in value.items()}
    return [_rounded(of) for of in value] if isinstance(value, list | tuple) else value


def keep(name: str, folders: Sequence[str], reference: Path = REFERENCE) -> Path:
    """Write the summaries of those folders, and return the file.

    Args:
        name: of the processor.
        folders: the first as it is, each further one as word=folder.
        reference: where the file goes.

    Raises:
        NormsuiteError: a folder has no bench or several, or the file cannot be written.
    """
    members = {}
    for given in folders:
        word, equals, folder = given.rpartition("=")
        if bool(members) != bool(equals):
            raise NormsuiteError(f"{given}: the first folder stands alone, and each further one has a word before it")
        members["-".join(["bench-summary-of", name, *([word] if word else [])])] = of_folder(Path(folder))
    path = reference / f"bench-summary-of-{name}{compact.SUFFIX}"
    writing.write_bytes(path, compact.packed(members.items()))
    return path


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name")
    parser.add_argument("folders", nargs="+")
    given = parser.parse_args(arguments)
    try:
        print(keep(given.name, given.folders))
    except NormsuiteError as error:
        raise SystemExit(str(error)) from None


if __name__ == "__main__":
    main()
