"""Everything that was collected, put into the page's template."""

from importlib import resources

import jinja2

from .. import __version__, claims, explain
from ..bench import summary
from ..bench.summary import Bench, sentences
from ..spec import NORMS
from . import charts, tables
from .collect import ASV_COMMAND, BENCH_COMMAND, STUDY_COMMAND, Collected

VERDICTS = {*explain.VERDICTS, *claims.VERDICTS, *summary.VERDICTS}
"""Cells that the template colours by what they say."""


def render(collected: Collected) -> str:
    """The page as HTML. All text is escaped; only the charts' own SVG goes in as it is."""
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: (resources.files(__package__) / "templates" / name).read_text()),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("index.html.jinja").render(
        version=__version__,
        verdicts=VERDICTS,
        overview=_overview(collected),
        names=list(NORMS),
        norms=[(spec, charts.shared_means(spec), tables.worked_example(spec)) for spec in NORMS.values()],
        learning=_learning(collected),
        against=_against(collected.bench),
        cost=_cost(collected),
        trend=charts.trend(collected.history),
        method=tables.method(collected),
        notes=collected.notes,
        study_command=STUDY_COMMAND,
        asv_command=ASV_COMMAND,
        bench_command=BENCH_COMMAND,
    )


def _overview(collected: Collected) -> list[str]:
    """What one can read off this report, in sentences that carry their figures."""
    rows = [row for row in explain.explain_all() if row.printed is not None]
    figures = [row for row in rows if row.statistic in ("mean", "std")]
    count = {verdict: sum(r.verdict == verdict for r in figures) for verdict in explain.VERDICTS}
    wrong = count[explain.WRONG]
    other = sum(r.verdict == explain.WRONG for r in rows) - wrong
    sentences = [
        f"Of the {len(figures)} figures that the document prints in its worked example, {count['exact']} are exact, "
        f"{count['rounded']} rounded, {count['truncated']} truncated and {wrong} wrong; {other} of its labels and "
        "parameter counts are wrong too."
    ]
    if collected.study:
        judged, _ = tables.measured_claims(collected)
        verdicts = [j.verdict for j in judged]
        counted = ", ".join(f"{verdicts.count(v)} {v}" for v in dict.fromkeys(verdicts))
        sentences.append(
            f"Of its {len(judged)} claims on learning, {len(collected.seeds)} seeds and "
            f"{collected.study[0]['case']['epochs']} epochs find: {counted}."
        )
        best = tables.last_epoch(collected)
        place = best.columns.index("test accuracy")
        sentences.append("Test accuracy: " + "; ".join(f"{row[0]} {row[place]}" for row in best.rows) + ".")
    steps = tables.ran(collected.cost, tables.TRAINING_STEP)
    if steps:
        first, case = steps[0].parameters, steps[-1].parameters["case"]
        here = {**first, "case": case}
        cost = [
            f"{m.parameters['norm']} {tables.cell(m, tables.seconds)}"
            for m in steps
            if {**m.parameters, "norm": ""} == {**here, "norm": ""}
        ]
        sentences.append(
            f"Median time of a training step of one norm in the case {case}, {first['backend']} on {first['device']}: "
            + "; ".join(cost)
            + "."
        )
    return sentences


def _learning(collected: Collected) -> dict | None:
    if not collected.study:
        return None
    judged, differences = tables.measured_claims(collected)
    return {
        "charts": charts.learning(collected),
        "table": tables.last_epoch(collected),
        "claims": judged,
        "differences": differences,
    }


def _against(bench: Bench) -> dict | None:
    if not bench.records:
        return None
    measured = {record["case"]["device"] for record in bench.records}
    return {
        "charts": charts.against(bench),
        "tables": tables.against(bench),
        "every_case": tables.every_case(bench),
        "sentences": sentences(bench),
        "missing": "" if measured - {"cpu"} else "Not measured here: an accelerator.",
    }


def _cost(collected: Collected) -> dict | None:
    measured = collected.cost
    if not measured:
        return None
    found = [tables.memory(measured), tables.numerics(measured), tables.error_rate(measured)]
    memory = charts.memory(measured)
    return {
        "charts": [*charts.latency(measured), *([memory] if memory else [])],
        "tables": [*tables.latency(measured), *(table for table in found if table)],
        "missing": tables.not_measured(measured),
    }
