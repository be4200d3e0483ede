"""The version of torch that the other benchmarks ran with.

asv records the versions that it installed itself, and nothing of an environment that exists.
"""

import torch


class Environment:
    """The installed torch."""

    unit = "torch version"
    timeout = 60
    version = "1"

    def track_torch(self):
        """Return torch's version as a number, since asv stores numbers: 2.14.1 is 2014001."""
        major, minor, patch = (int(part) for part in torch.__version__.partition("+")[0].split(".")[:3])
        return 1_000_000 * major + 1_000 * minor + patch
