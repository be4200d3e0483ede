"""Devices by name: "cpu", or the accelerator that torch found here."""

import torch

from .errors import ArgumentError


def check(device: str) -> str:
    """That device, if torch can use it here.

    Raises:
        ArgumentError: it cannot; the message says what can be used.
    """
    if device == "cpu":
        return device
    found = torch.accelerator.current_accelerator(check_available=True)
    try:
        wanted = torch.device(device)
    except RuntimeError:
        wanted = None
    known = found is not None and wanted is not None and wanted.type == found.type
    if not known or (wanted.index or 0) >= torch.accelerator.device_count():
        raise ArgumentError("device", device, f"not available here; available are cpu{f', {found}' if found else ''}")
    return device


def name(device: str) -> str | None:
    """The accelerator's model, or None for the processor."""
    return None if device == "cpu" else torch.get_device_module(device).get_device_name(device)


def synchronize(device: str) -> None:
    """Wait until the device has done what it was told; the processor always has."""
    if device != "cpu":
        torch.accelerator.synchronize(torch.device(device))
