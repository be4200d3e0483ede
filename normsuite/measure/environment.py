"""The description of the machine in a record of what was measured on a device."""

import torch

from ..machine import device as devices
from ..records import provenance


def on(device: str) -> dict:
    """Return `provenance.environment` of this process, with torch's number of threads, on that device."""
    return provenance.environment(
        threads=torch.get_num_threads(), accelerator=devices.name(device), driver=devices.driver(device)
    )
