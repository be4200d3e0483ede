"""Charts of asv's results of one commit: a norm's time and memory."""

import math

from ..measure.labels import ASV_MEMORY
from ..presentation import text
from ..presentation.charts import MARKERS, Chart, colour, figure
from ..records import kinds
from ..spec import NO_NORM, NORMS
from .adapter import Measurement
from .cost import LATENCY, ran

_MARKER_NAMES = {"o": "disc", "s": "open square", "^": "open triangle", "D": "open diamond", "v": "open wedge"}


def _dots(
    name: str, found: list[Measurement], caption: str, what: str, units: dict[str, float], *, logarithmic: bool
) -> Chart:
    """Draw norms against one value, a panel a case, a marker a backend; intervals where there are any.

    Args:
        units: to choose from for each panel, the largest first.
    """
    devices = list(dict.fromkeys(m.parameters["device"] for m in found))
    backends = list(dict.fromkeys(m.parameters["backend"] for m in found))
    panels, said = [], []
    for device, case in dict.fromkeys((m.parameters["device"], m.parameters["case"]) for m in found):
        here = [m for m in found if (m.parameters["device"], m.parameters["case"]) == (device, case)]
        least = min(m.number for m in here)
        unit, scale = text.unit_for(least, units)
        dots = []
        for m in here:
            norm, backend = m.parameters["norm"], m.parameters["backend"]
            dots.append((norm, backend, *(value / scale for value in (m.number, *m.interval))))
            said.append(f"{case} {norm} {backend} {m.number / scale:.3g} {unit}")
        panels.append((f"{case}, {unit}" if len(devices) == 1 else f"{case} on {device}, {unit}", dots))
    shapes = ", ".join(f"{_look(place)[2]}: {backend}" for place, backend in enumerate(backends))
    axis_kind = " Logarithmic axes." if logarithmic else ""
    return Chart(
        _draw_dots,
        (name, panels, backends, logarithmic),
        f"{what}. {'; '.join(said)}",
        f"{caption} {shapes[0].upper()}{shapes[1:]}.{axis_kind}",
        kinds.ASV.command,
    )


def _look(place: int) -> tuple[str, str, str]:
    """Return marker, filling and name of the backend in that place: the first is filled, the next ones are open."""
    marker = MARKERS[place % len(MARKERS)]
    if place < len(MARKERS):
        return marker, "none" if place else "full", _MARKER_NAMES[marker]
    if place % len(MARKERS) == 0:  # the one that is filled for the first backend
        return marker, "none", "open circle"
    return marker, "full", _MARKER_NAMES[marker].replace("open", "filled")


def _draw_dots(name: str, panels: list, backends: list[str], logarithmic: bool) -> str:
    """Draw a panel for each title, with norm, backend, value and its interval."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    norms = [norm for norm in (*NORMS, NO_NORM) if any(dot[0] == norm for _, dots in panels for dot in dots)]
    with figure(name, 4.3, 0.2 + 1.4 * len(panels), rows=len(panels)) as (finish, axes):
        for axis, (title, dots) in zip(axes, panels, strict=True):
            for norm, backend, value, low, high in dots:
                y = norms.index(norm) + (backends.index(backend) - (len(backends) - 1) / 2) * 0.3
                if not math.isnan(low) and high > low:
                    axis.plot([low, high], [y, y], color=colour(norm), linewidth=3.5, alpha=0.45)
                marker, fill, _ = _look(backends.index(backend))
                axis.plot(value, y, marker, color=colour(norm), markersize=6, fillstyle=fill)
            axis.set_title(title)
            if logarithmic:
                axis.set_xscale("log")
                left, right = axis.get_xlim()
                axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if right < 30 * left else (1,)))
                axis.xaxis.set_minor_formatter(NullFormatter())
            else:
                axis.set_xlim(left=0)
            axis.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
            axis.set_yticks(range(len(norms)), norms)
            axis.set_ylim(len(norms) - 0.3, -0.7)  # whole markers at both ends
            axis.grid(True, axis="x")
        return finish()


def latency(measurements: list[Measurement]) -> list[Chart]:
    """Return charts of the time of a call, one for the forward pass and one for the training step."""
    return [
        _dots(
            f"latency-{name.replace(' ', '-')}",
            found,
            f"{name.capitalize()}: median time of a call, the bar its 99 % interval.",
            f"Median time of the {name}",
            text.TIME_UNITS,
            logarithmic=True,
        )
        for benchmark, name in LATENCY.items()
        if (found := ran(measurements, benchmark))
    ]


def memory(measurements: list[Measurement]) -> Chart | None:
    """Return a chart of the peak bytes of a training step, or None where none were measured."""
    found = ran(measurements, ASV_MEMORY)
    if not found:
        return None
    return _dots(
        "memory",
        found,
        "Training step: most tensor bytes at once beside the operands, counted exactly.",
        "Peak memory of a training step",
        text.BYTE_UNITS,
        logarithmic=False,
    )
