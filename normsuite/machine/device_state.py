"""An accelerator's state as its driver gives it: clocks, power, temperature, and why it is slowed down.

NVIDIA's is asked through nvidia-ml-py (`pynvml`). Where that cannot be, there is a reason instead.
"""

from collections.abc import Callable
from types import ModuleType

import torch

# Bits of what NVIDIA's driver calls clock event reasons.
_THROTTLED = {
    0x1: "idle",
    0x2: "application clocks",
    0x4: "power cap",
    0x8: "hardware slowdown",
    0x10: "sync boost",
    0x20: "thermal, software",
    0x40: "thermal, hardware",
    0x80: "power brake",
    0x100: "display clocks",
}


class DeviceState:
    """Reads the state of one accelerator.

    Attributes:
        reason: why nothing can be read, or None.
    """

    def __init__(self, device: str):
        self._library: ModuleType | None = None
        self.reason = self._open(torch.device(device))

    def _open(self, device: torch.device) -> str | None:
        if device.type != "cuda" or not torch.version.cuda:
            return f"only NVIDIA's driver is asked, not that of {device.type}"
        try:
            import pynvml
        except ImportError:
            return "nvidia-ml-py is not installed: pip install nvidia-ml-py"
        try:
            pynvml.nvmlInit()
            # By its own number: the variable CUDA_VISIBLE_DEVICES changes torch's.
            uuid = f"GPU-{torch.cuda.get_device_properties(device).uuid}"
            self._handle = pynvml.nvmlDeviceGetHandleByUUID(uuid)
        except pynvml.NVMLError as error:
            return f"the driver does not answer ({error})"
        self._library = pynvml
        return None

    def read(self) -> dict | None:
        """Return clocks in MHz, power and its limit in W, temperature in °C, and the names of throttle reasons.

        A value is None if the driver does not tell it; the result is None if `reason` is not.
        """
        if self._library is None:
            return None
        nvml = self._library

        def ask(question: Callable, *arguments: int) -> int | None:
            try:
                return question(self._handle, *arguments)
            except nvml.NVMLError:  # this driver, or this model, does not tell
                return None

        bits = ask(nvml.nvmlDeviceGetCurrentClocksThrottleReasons)
        return {
            "sm_mhz": ask(nvml.nvmlDeviceGetClockInfo, nvml.NVML_CLOCK_SM),
            "memory_mhz": ask(nvml.nvmlDeviceGetClockInfo, nvml.NVML_CLOCK_MEM),
            "power_w": _thousandth(ask(nvml.nvmlDeviceGetPowerUsage)),
            "power_limit_w": _thousandth(ask(nvml.nvmlDeviceGetEnforcedPowerLimit)),
            "celsius": ask(nvml.nvmlDeviceGetTemperature, nvml.NVML_TEMPERATURE_GPU),
            "throttled": None if bits is None else [name for bit, name in _THROTTLED.items() if bits & bit],
        }


def _thousandth(value: int | None) -> float | None:
    return None if value is None else value / 1000
