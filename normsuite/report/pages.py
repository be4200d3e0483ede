"""Everything that was collected, as the report's pages."""

from collections.abc import Iterable

from ..bench.summary import Bench
from ..bench.summary import sentences as bench_sentences
from ..helpers import ALONE, Helpers
from ..history import segments, trends
from ..spec import NORMS, NormSpec
from . import cost, diagrams, digits, gate, history, learning, numerics, overview, tables, trend
from .charts import Chart
from .collect import (
    ASV_COMMAND,
    BENCH_COMMAND,
    GATE_COMMAND,
    NUMERICS_COMMAND,
    SELF_CHECK_COMMAND,
    STUDY_COMMAND,
    Collected,
)
from .page import Page, Section, Sentence


def pages(collected: Collected, helpers: Helpers = ALONE) -> list[Page]:
    """The overview and what it leads to, in the order of the navigation.

    Args:
        collected: what there is to show.
        helpers: who may take a share of the drawings and of what a history takes.
    """
    before = [_norms(), _learning(collected), _cost(collected), _numerics(collected)]
    for page in before:
        for section in page.sections:
            _begin(section.charts, helpers)
    others = [*before, _history(collected, helpers), _gate(collected), _method(collected)]
    return [_overview(collected, others), *others]


def _begin(charts: Iterable[Chart], helpers: Helpers) -> None:
    for chart in charts:
        chart.begin(helpers)


def _missing(key: str, title: str, missing: str, command: str) -> Section:
    return Section(key, title, missing=missing, command=command)


def _sentences(lines: list[str]) -> tuple[Sentence, ...]:
    return tuple(Sentence(line) for line in lines)


def _some(*found) -> tuple:
    """Those charts or tables that are there."""
    return tuple(thing for thing in found if thing)


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
            tuple(tables.worked_example(spec)),
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
    sections = [_missing("results", "Results", "No study has been recorded.", STUDY_COMMAND)]
    if collected.study:
        sections = _studied(collected)
    return Page("learning", "Learning", "How they learn", lead, tuple(sections))


def _studied(collected: Collected) -> list[Section]:
    judged, differences = tables.measured_claims(collected)
    decided = (
        "A claim is contradicted if one of its relations is, supported if all are, and undecided otherwise. A relation "
        "is decided where Student's t, the sign-flip and Wilcoxon's test agree, or the two exact ones where a run has "
        "collapsed. Few seeds decide little: undecided means that these runs do not tell, not that the norms are equal."
    )
    shift = learning.shift(collected)
    small = learning.small_batches(collected)
    disagreed = digits.disagreements(collected)
    sections = [
        Section(
            "results",
            "Results",
            charts=tuple(learning.curves(collected)),
            tables=(tables.last_epoch(collected), learning.reaching(collected), *_some(learning.tuning(collected))),
        ),
        Section("claims", "The document's claims", (decided,), tables=(tables.verdicts(judged), differences)),
        Section(
            "pairs",
            "Every pair of norms",
            sentences=_sentences([learning.detectable(collected)]),
            tables=tuple(learning.pairs(collected)),
            folded=True,
        ),
    ]
    if shift:
        sections.append(Section("shift", "Covariate shift", charts=tuple(shift)))
    if small:
        sections.append(Section("small-batches", "Small batches", charts=small[:1], tables=small[1:]))
    else:
        command = f"{STUDY_COMMAND} --preset batch-size"
        sections.append(
            _missing("small-batches", "Small batches", "No study of batch sizes has been recorded.", command)
        )
    for key, title, found in (
        ("confusion", "Which digits were taken for which", digits.confusion(collected)),
        ("mistakes", "The digits that they got wrong", digits.gallery(collected)),
    ):
        if found:
            sections.append(Section(key, title, charts=tuple(found), folded=True))
    if disagreed:
        title = "The digits that they disagree on"
        sections.append(Section("disagreements", title, charts=disagreed[:1], tables=disagreed[1:], folded=True))
    return sections


def _against(bench: Bench, number: int, further: list[str]) -> list[Section]:
    """A comparison with the alternatives and its cases; the first of a page has the plain names.

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
            tables.titled(tables.AGAINST, bench),
            (text,),
            _sentences([*bench_sentences(bench), *further]),
            tuple(cost.against(bench, own)),
            tuple(tables.against(bench)),
            folded=number > 0,
        ),
        Section(
            f"cases{own}",
            tables.titled("Every case", bench),
            tables=_some(tables.every_case(bench)),
            folded=True,
        ),
    ]


def _other_source(bench: Bench, first: Bench) -> list[str]:
    """That a comparison was made of another version of the package than the first one of the page."""
    there, here = (found.records[0] for found in (bench, first))
    if there.get("source") == here.get("source"):
        return []
    commit, written = (str(there.get(name) or "unknown") for name in ("commit", "written"))
    return [f"Of another version of the package than the first comparison: commit {commit[:8]}, {written[:10]}."]


def _cost(collected: Collected) -> Page:
    measured = collected.cost
    missing = "Nothing has been compared with the alternatives."
    sections = [_missing("against", tables.AGAINST, missing, BENCH_COMMAND)]
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
                _sentences(_some(tables.not_measured(measured))),
                (*cost.latency(measured), *_some(cost.memory(measured))),
                (*tables.latency(measured), *_some(tables.memory(measured), tables.others(measured))),
            )
        )
    else:
        sections.append(_missing("commit", "One commit", "asv has no results.", ASV_COMMAND))
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
            f"{record['case'].get('dtype', '')} on {record['case'].get('device', '')}",
            charts=tuple(numerics.charts(record)),
            tables=(numerics.table(record),),
        )
        for number, record in enumerate(collected.numerics)
    ]
    if not sections:
        sections = [_missing("far", "Inputs far from zero", "No errors have been recorded.", NUMERICS_COMMAND)]
    tracked = tables.numerics(collected.cost)
    if tracked:
        sections.append(Section("commit", "One commit", tables=(tracked,)))
    return Page("numerics", "Numerics", "How exact they are", lead, tuple(sections))


def _history(collected: Collected, helpers: Helpers) -> Page:
    lead = "What the suite tracks from commit to commit. The trend shows where to look; the gate gives verdicts."
    sections = [_missing("trend", "Trend", "asv has no results.", f"{ASV_COMMAND} A..B")]
    if collected.recorded:
        of_all = trends(segments(collected.recorded), helpers=helpers)
        drawn = trend.charts(of_all, collected.series)
        _begin(drawn, helpers)
        steps = _some(history.step_table(of_all))
        sections = [Section("steps", "Steps", sentences=_sentences(history.sentences(of_all)), tables=steps)]
        if drawn:
            rates = tables.error_rate(collected.cost)
            sections.append(Section("trend", "Trend", charts=tuple(drawn), tables=_some(rates)))
        sections.append(Section("series", "Every series", tables=_some(history.series_table(of_all)), folded=True))
    return Page("history", "History", "Commit by commit", lead, tuple(sections))


def _gate(collected: Collected) -> Page:
    lead = (
        "Two versions of this package, timed call by call in turn in the same processes. Worse: the whole interval of "
        "the ratio lies above the small threshold; same: within the margin; undecided: neither, with how much slower "
        "it is at most."
    )
    sections = [_missing("gate", "Verdicts", "No two versions have been compared.", f"{GATE_COMMAND} BASE")]
    if collected.gate is not None:
        lines = [gate.headline(collected.gate), *gate.sentences(collected.gate)]
        sections = [Section("gate", "Verdicts", sentences=_sentences(lines), tables=(gate.table(collected.gate),))]
    wrong = "How often the gate is wrong"
    if collected.self_check:
        sections.append(Section("self-check", wrong, tables=(gate.error_rates(collected.self_check),)))
    else:
        sections.append(_missing("self-check", wrong, "It has not been tried on known changes.", SELF_CHECK_COMMAND))
    return Page("gate", "Gate", "Did a change make it worse?", lead, tuple(sections))


_HOW = (
    "Training: AdamW with a one-cycle schedule; runs share nothing and have one thread each, several side by side. The "
    "test digits are evaluated after every epoch and choose nothing.",
    "Time: the wall clock around repeated calls on the CPU, events of the device on an accelerator (where tiny calls "
    "take as long as the host needs to launch them); warm-up and garbage collection outside. Memory: the allocator's "
    "own events. Numerical error: against NumPy in float64.",
    "Intervals: Student's t over seeds; for times the distribution-free interval of the median of one process's "
    "samples, which knows nothing of the differences between processes.",
    "Against the alternatives: within a process the median over rounds of the ratio of two times of one round, over "
    "processes their geometric mean with Student's t interval. A case is slower only if its interval, corrected for "
    "all cases, whose variances inform each other, lies above 1.02.",
    "Absolute times hold for this machine on that day only.",
)


def _method(collected: Collected) -> Page:
    found = tables.method(collected)
    if collected.gate is not None:
        found.append(gate.method(collected.gate))
    sections = [Section("how", "How", _HOW)]
    if found:
        sections.append(Section("machine", "Machine, versions and settings", tables=tuple(found)))
    if collected.notes:
        sections.append(Section("notes", "Left out or missing", sentences=_sentences(collected.notes)))
    lead = "What is behind the figures: machine, versions, settings, and what was left out."
    return Page("method", "Method", "How this was measured", lead, tuple(sections))
