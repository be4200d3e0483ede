"""All checks of our norms as pytest items."""

import mynorms

from normsuite import Target
from normsuite.testing import parametrize_with_checks

TARGETS = [
    Target(mynorms.RMSNorm, args=(64,), like="RMSNorm"),
    Target(mynorms.group_norm_silu, args=(4,), like="GroupNorm", activation="silu"),
]


@parametrize_with_checks(TARGETS)
def test_conforms(check):
    """Run one check on one target."""
    check()
