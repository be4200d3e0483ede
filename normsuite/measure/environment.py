"""The description of the machine in a record of what was measured on a device."""

import torch

from ..machine import device as devices
from ..records import provenance
from . import device_clock


def on(device: str) -> dict:
    """Return `provenance.environment` of this process, with torch's number of threads, on that device."""
    return provenance.environment(
        threads=torch.get_num_threads(), accelerator=devices.name(device), driver=devices.driver(device)
    )


def timed_on(device: str) -> dict:
    """Return `on` with an accelerator's properties and its state under load, which calls were timed in."""
    return on(device) | device_clock.environment(device)
