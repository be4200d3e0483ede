"""The version of torch that the other benchmarks ran with.

asv records the versions that it installed itself, and nothing of an environment that exists.
"""

import re

import torch


class Environment:
    """The installed torch."""

    unit = "torch version"
    timeout = 60
    version = "1"

    def track_torch(self):
        """Return torch's version as a number, since asv stores numbers: 2.14.1 is 2014001, and so is 2.14.1rc1."""
        major, minor, patch = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?", torch.__version__).groups(default="0")
        return 1_000_000 * int(major) + 1_000 * int(minor) + int(patch)
