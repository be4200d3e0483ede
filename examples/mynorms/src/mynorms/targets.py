"""Targets that `normsuite` finds where this package is installed: `normsuite check mynorms-rms` in any folder."""

from normsuite import Target

TARGETS = [Target("mynorms:RMSNorm", args=(64,), like="RMSNorm", name="mynorms-rms")]
