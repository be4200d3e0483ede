"""Norms that do one thing wrong each, for tests of what is said of them; other processes import them from here."""

import contextlib
import ctypes
import os
import signal
import sys
import threading
import time

import torch
from torch import nn
from torch.nn import functional as F

GROUPS, CHANNELS = 4, 8


class Right(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(CHANNELS)), nn.Parameter(torch.zeros(CHANNELS))
        self.num_groups, self.eps = GROUPS, 1e-5

    def forward(self, x):
        return F.group_norm(x, GROUPS, self.weight, self.bias, self.eps)


class IgnoresGaps(Right):
    """Reads rows as if nothing lay between their values."""

    def forward(self, x):
        return x if x.stride(-1) == 2 else super().forward(x)


class IgnoresSharing(Right):
    def forward(self, x):
        return x if x.stride(0) == 0 else super().forward(x)


class Gated(Right):
    """Its further parameters are drawn when it is made."""

    def __init__(self):
        super().__init__()
        self.gate = nn.Linear(1, 1)

    def forward(self, x):
        return super().forward(x) * self.gate(x.new_ones(1, 1)).sigmoid()


class HasFourAxes(Right):
    """Holds a weight for each channel in the shape that broadcasts."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1, CHANNELS, 1, 1))
        self.bias = nn.Parameter(torch.zeros(1, CHANNELS, 1, 1))

    def forward(self, x):
        return F.group_norm(x, GROUPS, None, None, self.eps) * self.weight + self.bias


class PrivateGroups(nn.Module):
    """Nothing but its user knows its groups."""

    def __init__(self):
        super().__init__()
        self.groups = GROUPS

    def forward(self, x):
        return F.group_norm(x, self.groups)


class HidesEps(nn.Module):
    """Its eps is no attribute by a known name, and a default of its constructor."""

    def __init__(self, eps=1e-2):
        super().__init__()
        self._eps = eps
        self.num_groups = GROUPS

    def forward(self, x):
        return F.group_norm(x, GROUPS, None, None, self._eps)


class OnePass(Right):
    """E[x²] − E[x]², which loses all digits at large means."""

    def forward(self, x):
        v = x.reshape(x.shape[0], GROUPS, -1)
        mean = v.mean(-1, keepdim=True)
        var = (v * v).mean(-1, keepdim=True) - mean * mean
        y = ((v - mean) * (var + self.eps).rsqrt()).reshape(x.shape)
        shape = (1, CHANNELS, *(1 for _ in x.shape[2:]))
        return y * self.weight.view(shape) + self.bias.view(shape)


class Transposed(Right):
    def forward(self, x):
        return super().forward(x).transpose(0, 1)


class Wider(Right):
    def forward(self, x):
        return super().forward(x).double()


class Tuples(Right):
    def forward(self, x):
        return super().forward(x), x


class InPlace(Right):
    def forward(self, x):
        if not x.requires_grad:
            x -= x.mean()
        return super().forward(x)


class Remembers(Right):
    last = 0.0

    def forward(self, x):
        y = super().forward(x) + self.last
        self.last = float(x.mean()) * 1e-3
        return y


class Prints(Right):
    def forward(self, x):
        print("normalising", tuple(x.shape))
        return super().forward(x)


class HangsOnEmpty(Right):
    def forward(self, x):
        while not x.numel():
            time.sleep(0.1)
        return super().forward(x)


class LeavesOnEmpty(Right):
    def forward(self, x):
        if not x.numel():
            os._exit(0)
        return super().forward(x)


class LeavesInFloat64(Right):
    def forward(self, x):
        if x.dtype == torch.float64:
            os._exit(0)
        return super().forward(x)


class CrashesOnEmpty(Right):
    def forward(self, x):
        if not x.numel():
            ctypes.string_at(0)
        return super().forward(x)


class Raises(Right):
    def forward(self, x):
        if x.shape[0] > 2:
            raise RuntimeError(f"cannot take {x.shape[0]} samples")
        return super().forward(x)


class WrongGradient(Right):
    def forward(self, x):
        y = super().forward(x)
        return y.detach() + 0.9 * (y - y.detach())


class MixesSamples(Right):
    def forward(self, x):
        return super().forward(x) + 0 * x.sum()


class Random(Right):
    def forward(self, x):
        return super().forward(x) * (1 + 1e-3 * torch.rand(()))


class OtherNames(nn.Module):
    def __init__(self):
        super().__init__()
        self.gamma, self.beta = nn.Parameter(torch.ones(CHANNELS)), nn.Parameter(torch.zeros(CHANNELS))

    def forward(self, x):
        return F.group_norm(x, GROUPS, self.gamma, self.beta)


class Wasteful(Right):
    def forward(self, x):
        copies = [x + number for number in range(3)]
        return super().forward(sum(copies) / 3 - 1)


class NoGradient(Right):
    def forward(self, x):
        return super().forward(x.detach())


class OnlyFloat32(Right):
    """Wrong in narrower types."""

    def forward(self, x):
        return super().forward(x) if x.dtype == torch.float32 else super().forward(x) + 1


class LosesStatistics(nn.BatchNorm2d):
    """Its running statistics are in no state_dict."""

    def __init__(self):
        super().__init__(CHANNELS)
        for name in ("running_mean", "running_var", "num_batches_tracked"):
            self.register_buffer(name, getattr(self, name), persistent=False)


def dropout_like(x):
    """An oracle of nothing: x itself."""
    return x


def oracle(x, weight=None, bias=None, eps=1e-5):
    """Group norm in NumPy, as a user would write an oracle."""
    v = x.reshape(x.shape[0], GROUPS, -1)
    v = (v - v.mean(-1, keepdims=True)) / (v.var(-1, keepdims=True) + eps) ** 0.5
    shape = (1, -1, *(1 for _ in x.shape[2:]))
    return v.reshape(x.shape) * weight.reshape(shape) + bias.reshape(shape)


class Hangs(Right):
    def forward(self, x):
        while True:
            time.sleep(0.1)


class Leaves(Right):
    def forward(self, x):
        os._exit(3)


def hangs():
    while True:
        time.sleep(0.1)


def leaves():
    os._exit(3)


def short():
    return sum(range(50))


def longer():
    return sum(range(5000))


def noisy():
    print("hello")


def raising():
    raise ValueError("not today")


class Does(Right):
    """Does something to the process each time."""

    def does(self):
        raise NotImplementedError

    def forward(self, x):
        self.does()
        return super().forward(x)


class Stop(BaseException):
    """An exception that no `except Exception` catches."""


class RaisesBase(Does):
    def does(self):
        raise Stop("enough")


class ExitsQuietly(Does):
    def does(self):
        os._exit(0)


class Killed(Does):
    def does(self):
        os.kill(os.getpid(), signal.SIGKILL)


class WritesBytes(Does):
    def does(self):
        os.write(1, b"\xff\xfe\n")
        os.write(2, b"\xff\xfe\n")


class ClosesOutput(Does):
    def does(self):
        sys.stdout.close()


class ClosesError(Does):
    def does(self):
        sys.stderr.close()


class ClosesDescriptors(Does):
    def does(self):
        for number in (1, 2):
            with contextlib.suppress(OSError):
                os.close(number)


class LeavesThreads(Does):
    def does(self):
        if threading.active_count() < 20:
            threading.Thread(target=time.sleep, args=(1e6,)).start()


class ChangesFolder(Does):
    def does(self):
        os.chdir("/")


class ChangesDtype(Does):
    def does(self):
        torch.set_default_dtype(torch.float64)


class ChangesDevice(Does):
    def does(self):
        torch.set_default_device("meta")


class ChangesThreads(Does):
    def does(self):
        torch.set_num_threads(torch.get_num_threads() + 1)


class DrawsNumbers(Does):
    def does(self):
        torch.rand(100_000)


def raises_base():
    raise Stop("enough")


def closes_output():
    sys.stdout.close()


def closes_error():
    sys.stderr.close()


def closes_descriptors():
    ClosesDescriptors.does(None)


def leaves_threads():
    LeavesThreads.does(None)


def changes_folder():
    os.chdir("/")


def changes_dtype():
    torch.set_default_dtype(torch.float64)


def changes_device():
    torch.set_default_device("meta")


def changes_threads():
    torch.set_num_threads(torch.get_num_threads() + 1)
