"""Order of a tensor's elements in memory: channels_last, of any rank."""

from torch import Tensor


def is_channels_last(x: Tensor) -> bool:
    """Return whether the channels of a place lie side by side, without gaps, as those of a contiguous matrix do."""
    return x.movedim(1, -1).is_contiguous()


def in_channels_last(x: Tensor) -> Tensor:
    """Return the tensor in that order: itself where it is, else a copy."""
    return x.movedim(1, -1).contiguous().movedim(-1, 1)
