"""Devices by name: "cpu", or the accelerator that torch found here."""

import torch

from ..errors import ArgumentError


def check(device: str) -> str:
    """Return that device, if torch can use it here.

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
    if (
        found is None
        or wanted is None
        or wanted.type != found.type
        or (wanted.index or 0) >= torch.accelerator.device_count()
    ):
        raise ArgumentError("device", device, f"not available here; available are cpu{f', {found}' if found else ''}")
    return device


def name(device: str) -> str | None:
    """Return the accelerator's model, or None for the processor.

    Where that accelerator is not here, as on the machine from which a cluster is controlled, it is what was asked for.
    """
    if device == "cpu":
        return None
    try:
        check(device)
    except ArgumentError:
        return device
    return torch.get_device_module(device).get_device_name(device)


def synchronize(device: str) -> None:
    """Wait until the device has done what it was told; the processor always has."""
    if device != "cpu":
        torch.accelerator.synchronize(torch.device(device))


def driver(device: str) -> str | None:
    """Return the versions of the accelerator's runtime and driver, as far as torch knows them; None for the CPU."""
    if device == "cpu":
        return None
    found = {"cuda": torch.version.cuda, "hip": torch.version.hip}
    if torch.device(device).type == "cuda" and torch.version.cuda:
        from torch.utils import collect_env  # asks nvidia-smi

        found["driver"] = collect_env.get_nvidia_driver_version(collect_env.run)
    return ", ".join(f"{name} {version}" for name, version in found.items() if version) or None


def properties(device: str) -> dict:
    """Return the accelerator's multiprocessors, memory and last-level cache, sizes in bytes.

    A value is None where torch does not say.
    """
    found = torch.get_device_module(device).get_device_properties(device)
    names = {
        "multiprocessors": "multi_processor_count",
        "memory_bytes": "total_memory",
        "cache_bytes": "L2_cache_size",
        "shared_bytes_per_multiprocessor": "shared_memory_per_multiprocessor",
    }
    return {name: getattr(found, attribute, None) for name, attribute in names.items()}


def free_bytes(device: str) -> int:
    """Return the bytes that can be allocated on the accelerator now.

    They are the free ones and those that torch's allocator caches.
    """
    free, _ = torch.get_device_module(device).mem_get_info(device)
    return free + torch.accelerator.memory_reserved(device) - torch.accelerator.memory_allocated(device)


def clock_mhz(device: str) -> int | None:
    """Return the accelerator's clock at this moment in MHz, where its driver tells (NVIDIA's through nvidia-ml-py)."""
    try:
        return torch.get_device_module(device).clock_rate(device) if device != "cpu" else None
    except Exception:  # no such function, no library to ask, or one with errors of its own: it is a remark, no result
        return None


def cache_bytes(device: str) -> int:
    """Return the bytes of the accelerator's last-level cache.

    Where torch does not know them they are 256 MiB, more than any has.
    """
    properties = torch.get_device_module(device).get_device_properties(device)
    return getattr(properties, "L2_cache_size", 0) or 2**28
