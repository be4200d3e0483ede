"""Checks of norms in this process, for tests of what they find."""

import odd_norms

import normsuite
from normsuite.conformance.checks import every

LIKE = {"like": "GroupNorm", "num_groups": odd_norms.GROUPS}
SLOW = ("compiled", "exported", "onnx")
QUICK = tuple(check.name.replace("[", "[[]") for check in every() if check.name not in SLOW)


def checked(norm, *only, **options):
    options = {**LIKE, "shapes": [(4, odd_norms.CHANNELS, 6, 5)], **options}
    report = normsuite.check(norm, only=only or QUICK, isolated=False, **options)
    return {result.check: result for result in report.results}
