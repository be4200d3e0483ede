"""What `normsuite` finds of this package where it is installed: `normsuite check mynorms-rms` in any folder."""

from normsuite import Target

TARGETS = [Target("mynorms:RMSNorm", args=(64,), like="RMSNorm", name="mynorms-rms")]
