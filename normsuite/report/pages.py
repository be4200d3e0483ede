"""The report's pages: which there are, in which order, and which features' charts and tables stand on them."""

from collections.abc import Iterable, Sequence

from ..ahead import tables as ahead
from ..bench import charts as bench_charts
from ..bench import tables as bench_tables
from ..bench.sentences import sentences as bench_sentences
from ..bench.summary import Bench
from ..conformance import tables as conformance
from ..gate import summary as gate
from ..gate import tables as gate_tables
from ..history import charts as history_charts
from ..history import cost, cost_charts, segments, trends
from ..history import tables as history_tables
from ..history.sentences import sentences as history_sentences
from ..lesson import claims, diagrams
from ..lesson.tables import worked_example
from ..machine.helpers import ALONE, Helpers
from ..numerics import charts as numerics_charts
from ..numerics import tables as numerics
from ..presentation.charts import Chart, found
from ..records import kinds
from ..spec import NORMS, NormSpec
from ..study import charts as study_charts
from ..study import mistakes
from ..study import tables as study
from ..study.summary import BATCH_COMMAND, Study
from . import overview
from .collect import (
    Collected,
)
from .page import Page, Section, Sentence


def pages(collected: Collected, helpers: Helpers = ALONE) -> list[Page]:
    """Return the overview and the pages that it leads to, in the order of the navigation.

    Args:
        collected: what there is to show.
        helpers: processes that may take a share of the drawings and of reading a history.
    """
    before = [_norms(), _learning(collected), _cost(collected), _numerics(collected)]
    for page in before:
        for section in page.sections:
            _begin(section.charts, helpers)
    after = [_gate(collected), _conformance(collected), _ahead(collected), _method(collected)]
    others = [*before, _history(collected, helpers), *after]
    return [_overview(collected, others), *others]


def _begin(charts: Iterable[Chart], helpers: Helpers) -> None:
    for chart in charts:
        chart.begin(helpers)


def _missing(key: str, title: str, missing: str, command: str) -> Section:
    return Section(key, title, missing=missing, command=command)


def _sentences(lines: Iterable[str]) -> tuple[Sentence, ...]:
    return tuple(Sentence(line) for line in lines)


def _some(*things) -> tuple:
    """Return the charts or tables that are there."""
    return tuple(thing for thing in things if thing)


def _overview(collected: Collected, others: list[Page]) -> Page:
    names = list(NORMS)
    sections = [Section("answers", "Which norm, when", sentences=tuple(overview.answers(collected)))]
    missing = [
        Sentence(f"{section.missing} Run {section.command}.", page=page.key, section=section.key)
        for page in others
        for section in page.sections
        if section.missing
    ]
    if missing:
        sections.append(Section("missing", "Not recorded yet", sentences=tuple(missing)))
    lead = (
        f"What {', '.join(names[:-1])} and {names[-1]} average over, what they cost and how they learn: the figures "
        "and claims of a lesson on normalization, computed and measured again."
    )
    return Page("index", "Overview", "Normalization layers compared", lead, tuple(sections))


def _norms() -> Page:
    lead = (
        "y = (x − mean) / √(variance + eps) · weight + bias. The norms differ in which numbers share a mean and a "
        "variance; RMSNorm takes no mean off and divides by the root of the mean square. Below is the document's "
        "worked example of three images with four channels of two numbers each; its printed figures stand beside "
        "the computed ones. A figure is exact, rounded, truncated or wrong, whichever holds first."
    )
    sections = tuple(
        Section(
            spec.name,
            spec.name,
            (_averages(spec),),
            (),
            (diagrams.cube(spec), diagrams.shared_means(spec)),
            tuple(worked_example(spec)),
        )
        for spec in NORMS.values()
    )
    return Page("norms", "Norms", "What each of them averages over", lead, sections)


def _averages(spec: NormSpec) -> str:
    groups = {"one": "one for all channels", "channels": "one per channel", "given": "as many as asked for"}
    return f"{spec.paper}. Groups: {groups[spec.groups]}; averaged over {', '.join(sorted(spec.axes))}."


def _learning(collected: Collected) -> Page:
    lead = (
        "The same small convolutional network with each norm in turn and with none; the same seed gives every norm the "
        "same initial weights and the same batches. Training loss and accuracy are means over the epoch while it "
        "trained; test loss and accuracy are taken after it."
    )
    sections = [_missing("results", "Results", "No study has been recorded.", kinds.STUDY.command)]
    if collected.study:
        sections = _studied(collected)
    elif collected.tuning:
        sections.append(Section("tuning", "Learning rates", tables=tuple(_some(study.tuning(collected.tuning)))))
    return Page("learning", "Learning", "How they learn", lead, tuple(sections))


_DECIDED = (
    "A claim is contradicted if one of its relations is, supported if all are, and undecided otherwise. A relation is "
    "decided where Student's t, the sign-flip and Wilcoxon's test agree, or the two exact ones where a run has "
    "collapsed; with fewer than about ten seeds by Student's t alone. Few seeds decide little: undecided means that "
    "these runs do not tell, not that the norms are equal."
)


def _studied(collected: Collected) -> list[Section]:
    studied, judged = collected.studied, claims.judge(collected.study)
    shift = found(study_charts, "shift", studied)
    sections = [
        Section(
            "results",
            "Results",
            charts=tuple(found(study_charts, "results", studied)),
            tables=(
                study.last_epoch(studied),
                study.reaching(collected.study),
                *_some(study.tuning(collected.tuning)),
            ),
        ),
        Section(
            "claims",
            "The document's claims",
            (_DECIDED,),
            tables=(study.verdicts(judged), study.differences(judged)),
        ),
        Section(
            "pairs",
            "Every pair of norms",
            sentences=_sentences([study.detectable(studied)]),
            tables=tuple(study.pairs(collected.study)),
            folded=True,
        ),
    ]
    if shift:
        sections.append(Section("shift", "Covariate shift", charts=tuple(shift)))
    return [*sections, _small_batches(collected.batches), *_mistakes(collected)]


def _small_batches(records: Sequence[dict]) -> Section:
    key, title = "small-batches", "Small batches"
    if not records:
        command = BATCH_COMMAND
        return _missing(key, title, "No study of batch sizes has been recorded.", command)
    charts = tuple(found(study_charts, key, Study(records)))
    return Section(
        key, title, charts=charts, tables=(study.small_batches(records), study.leaders(records, ["batch_size"]))
    )


def _mistakes(collected: Collected) -> list[Section]:
    studied = collected.studied
    sections = [
        Section(key, title, charts=tuple(charts), folded=True)
        for key, title, charts in (
            ("confusion", "Digits taken for others", mistakes.confusion(studied)),
            ("mistakes", "The digits that they got wrong", mistakes.gallery(studied)),
        )
        if charts
    ]
    disagreed = mistakes.disagreements(studied)
    if disagreed:
        title = "The digits that they disagree on"
        sections.append(Section("disagreements", title, charts=disagreed[:1], tables=disagreed[1:], folded=True))
    return sections


def _against(bench: Bench, number: int, further: list[str]) -> list[Section]:
    """Return the sections of a comparison with the alternatives and its cases; the first of a page has the plain names.

    `further` lines stand behind what it found.
    """
    own = f"-{number + 1}" if number else ""
    text = (
        "Every backend against torch.nn, other libraries and a copy of the same tensor, call by call in turn, in fresh "
        "processes."
    )
    return [
        Section(
            f"against{own}",
            bench_tables.titled(bench_tables.AGAINST, bench),
            (text,),
            _sentences([*bench_sentences(bench), *further]),
            tuple(found(bench_charts, "against", bench, own)),
            (*bench_tables.means(bench), *_some(bench_tables.rivals(bench))),
            folded=number > 0,
        ),
        Section(
            f"cases{own}",
            bench_tables.titled("Every task", bench),
            tables=_some(bench_tables.every_case(bench)),
            folded=True,
        ),
    ]


def _other_source(bench: Bench, first: Bench) -> list[str]:
    """Return a note that a comparison was made of another version of the package than the first one of the page."""
    there, here = (found.records[0] for found in (bench, first))
    if there.get("source") == here.get("source"):
        return []
    commit, written = (str(there.get(name) or "unknown") for name in ("commit", "written"))
    return [f"Of another version of the package than the first comparison: commit {commit[:8]}, {written[:10]}."]


def _cost(collected: Collected) -> Page:
    measured = collected.cost
    missing = "Nothing has been compared with the alternatives."
    sections = [_missing("against", bench_tables.AGAINST, missing, kinds.BENCH.command)]
    if collected.benches:
        only_cpu = not any(bench.key[0] for bench in collected.benches)
        sections = _against(collected.bench, 0, ["Not measured here: an accelerator."] if only_cpu else [])
        for number, bench in enumerate(collected.benches[1:], 1):
            sections += _against(bench, number, _other_source(bench, collected.bench))
    if measured:
        text = (
            "Time and memory of one norm applied to one tensor. Every value comes from a process of its own: compare "
            "across rows with the machine's drift in mind."
        )
        sections.append(
            Section(
                "commit",
                "One commit",
                (text,),
                _sentences(_some(cost.not_measured(measured))),
                (*cost_charts.latency(measured), *_some(cost_charts.memory(measured))),
                (*cost.latency(measured), *_some(cost.memory(measured), cost.others(measured))),
            )
        )
    else:
        sections.append(_missing("commit", "One commit", "asv has no results.", kinds.ASV.command))
    lead = "Time and memory of a call, against what people would use instead and against a copy of the same tensor."
    return Page("cost", "Cost", "What they cost", lead, tuple(sections))


def _numerics(collected: Collected) -> Page:
    lead = (
        "How many digits a norm loses: its output and its gradient against the same formula in float64, for inputs "
        "whose mean lies further and further from zero."
    )
    sections = [
        Section(
            "far" if number == 0 else f"far-{number + 1}",
            numerics.titled(record),
            charts=tuple(numerics_charts.charts(record, "" if number == 0 else f"-{number + 1}")),
            tables=(numerics.errors(record),),
        )
        for number, record in enumerate(collected.numerics)
    ]
    if not sections:
        sections = [_missing("far", "Inputs far from zero", "No errors have been recorded.", kinds.NUMERICS.command)]
    tracked = cost.numerics(collected.cost)
    if tracked:
        sections.append(Section("commit", "One commit", tables=(tracked,)))
    return Page("numerics", "Numerics", "How exact they are", lead, tuple(sections))


def _history(collected: Collected, helpers: Helpers) -> Page:
    lead = "What the suite tracks from commit to commit. The trend shows where to look; the gate gives verdicts."
    sections = [_missing("trend", "Trend", "asv has no results.", f"{kinds.ASV.command} A..B")]
    if collected.recorded:
        of_all = trends(segments(collected.recorded), helpers=helpers)
        drawn = history_charts.charts(of_all, collected.series)
        _begin(drawn, helpers)
        steps = _some(history_tables.beyond_noise(of_all))
        sections = [Section("steps", "Steps", sentences=_sentences(history_sentences(of_all)), tables=steps)]
        if drawn:
            rates = cost.error_rate(collected.cost)
            sections.append(Section("trend", "Trend", charts=tuple(drawn), tables=_some(rates)))
        sections.append(Section("series", "Every series", tables=_some(history_tables.series(of_all)), folded=True))
    return Page("history", "History", "Commit by commit", lead, tuple(sections))


def _gate(collected: Collected) -> Page:
    lead = (
        "Two versions of a package, timed call by call in turn. Worse: the whole interval of the ratio lies above the "
        "small threshold; same: within the margin; undecided: neither, with how much slower it is at most."
    )
    sections = [_missing("gate", "Verdicts", "No two versions have been compared.", f"{kinds.GATE.command} BASE")]
    if collected.gate is not None:
        rows = gate.rows(collected.gate)
        lines = [gate.headline(collected.gate), *gate.sentences(collected.gate, rows)]
        lines += collected.gate.get("notes", [])
        verdicts = gate_tables.verdicts(collected.gate, rows)
        sections = [Section("gate", "Verdicts", sentences=_sentences(lines), tables=(verdicts,))]
    wrong = "How often the gate is wrong"
    if collected.self_check:
        sections.append(Section("self-check", wrong, tables=(gate_tables.error_rates(collected.self_check),)))
    else:
        sections.append(
            _missing("self-check", wrong, "It has not been tried on known changes.", kinds.SELF_CHECK.command)
        )
    return Page("gate", "Gate", "Did a change make it worse?", lead, tuple(sections))


def _conformance(collected: Collected) -> Page:
    lead = (
        "Checks of layers against the float64 oracle: values, gradients, layouts, types, programs, state, memory. "
        "“ok” is as it should be; “differs” is off, but at most twice as far as torch's own call, or by cost "
        "alone, with the figure and torch's beside it; “unsupported” is refused with an error; “fails” is wrong; "
        "“not applicable” is a check that the layer has no part in."
    )
    command = f"{kinds.CONFORMANCE.command} TARGET --out reports/conformance"
    sections = [_missing("checks", "Checks", "No layer has been checked.", command)]
    if collected.conformance:
        said = _sentences(map(conformance.sentence, collected.conformance))
        sections = [
            Section("checks", "Checks", sentences=said),
            *(
                Section(f"like-{norm.replace(' ', '-')}", norm, tables=(table,))
                for norm, table in conformance.side_by_side(collected.conformance).items()
            ),
        ]
    return Page("conformance", "Conformance", "Are they right?", lead, tuple(sections))


def _ahead(collected: Collected) -> Page:
    lead = (
        "The kernels for accelerators, compiled ahead of time for architectures of which no device was at hand. The "
        "machine code shows registers, spills and the width of loads; a model counts the bytes that a call moves. "
        "Nothing is timed."
    )
    sections = [_missing("kernels", "Kernels", "No kernels have been compiled ahead.", kinds.AHEAD.command)]
    if collected.ahead is not None:
        said = _sentences(ahead.sentences(collected.ahead))
        sections = [
            Section("kernels", "Kernels", sentences=said, tables=(ahead.kernels(collected.ahead),)),
            Section("traffic", "Traffic", tables=(ahead.traffic(collected.ahead),)),
        ]
    return Page("ahead", "Not measured", "Not measured on a device", lead, tuple(sections))


_HOW = (
    "Training: AdamW with a one-cycle schedule; runs share nothing and have one thread each, several side by side. The "
    "test digits are evaluated after every epoch and choose nothing.",
    "Time: the wall clock around repeated calls on the CPU; on an accelerator the device's time of a captured graph, "
    "and beside it how long a call occupies the host; warm-up and garbage collection outside. Memory: the allocator's "
    "own "
    "events. Numerical error: against NumPy in float64, on an accelerator against float64 there.",
    "Intervals: Student's t over seeds; for times the distribution-free interval of the median of one process's "
    "samples, which knows nothing of the differences between processes.",
    "Against the alternatives: within a process the median over rounds of the ratio of two times of one round, over "
    "processes their geometric mean with Student's t interval. A task is slower only if its interval, corrected for "
    "all tasks, whose variances inform each other, lies above 1.02.",
    "Absolute times hold for this machine on that day only.",
)


def _commits_in_the_trend(collected: Collected) -> int:
    return len({commit for segment in segments(collected.recorded) for commit in segment.commits})


def _method(collected: Collected) -> Page:
    tables = [study.method(collected.studied)] if collected.study else []
    tables += map(bench_tables.method, collected.benches)
    if collected.cost:
        tables.append(cost.method(collected.cost, _commits_in_the_trend(collected)))
    if collected.gate is not None:
        tables.append(gate_tables.method(collected.gate))
    sections = [Section("how", "How", _HOW)]
    if tables:
        sections.append(Section("machine", "Machine, versions and settings", tables=tuple(tables)))
    if collected.notes:
        sections.append(Section("notes", "Left out or missing", sentences=_sentences(collected.notes)))
    lead = "What is behind the figures: machine, versions, settings, and what was left out."
    return Page("method", "Method", "How this was measured", lead, tuple(sections))
