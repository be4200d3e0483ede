"""The machine as an instrument: its noise, which backends and rivals can be measured here, and what would help."""

from dataclasses import dataclass, field

from .advice import advise
from .availability import by_norm, refused_norms, usable_backends, usable_rivals
from .noise import Noise, measure_noise
from .system import Machine, look


@dataclass(frozen=True)
class Diagnosis:
    """All findings of `normsuite doctor`.

    Attributes:
        backends, rivals: for each the reason why it cannot be used here, or None.
        lacking: the backends that compute some norms only, with the others and the reasons.
        noise: None where it was not measured.
        advice: what would make measurements quieter, as far as it applies here.
    """

    machine: Machine
    backends: dict[str, str | None]
    lacking: dict[str, str]
    rivals: dict[str, str | None]
    noise: Noise | None
    advice: list[str] = field(default_factory=list)


def diagnose(*, measure: bool = True) -> Diagnosis:
    """Return the findings on this machine.

    Args:
        measure: the noise too, which takes some 10 s.

    Raises:
        process.Died: a measuring process ended before it should have.
    """
    machine = look()
    noise = measure_noise(machine.threads) if measure else None
    refused = refused_norms()
    usable = usable_backends(refused)
    lacking = {name: by_norm(norms) for name, norms in refused.items() if norms and usable[name] is None}
    return Diagnosis(machine, usable, lacking, usable_rivals(), noise, advise(machine, noise))
