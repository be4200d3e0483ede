"""The version of torch that the other benchmarks ran with: asv records the versions that it installed itself, and
nothing of an environment that exists."""

import torch


class Environment:
    unit = "torch version"
    timeout = 60
    version = "1"

    def track_torch(self):
        """2.14.1 as 2014001, since asv stores numbers."""
        major, minor, patch = (int(part) for part in torch.__version__.partition("+")[0].split(".")[:3])
        return 1_000_000 * major + 1_000 * minor + patch
