"""A norm that torch.nn does not have, and whose constructor is unlike torch.nn's."""

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class Layout:
    """A number of channels, and the number added to the variance."""

    channels: int
    eps: float = 1e-5


class ChannelNorm(nn.Module):
    """Normalise the channels of every place by themselves, as ConvNeXt does."""

    def __init__(self, layout: Layout):
        super().__init__()
        self.norm = nn.LayerNorm(layout.channels, layout.eps)
        self.eps = layout.eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalise x (N, C, *S) over its channels at each place; the output has its shape."""
        return self.norm(x.movedim(1, -1)).movedim(-1, 1)


def make_channel_norm(channels: int) -> nn.Module:
    """Return a module from the arguments that the command line can give: an adapter."""
    return ChannelNorm(Layout(channels))


def channel_norm(x: Tensor) -> Tensor:
    """Normalise the channels of every place, without weight and bias."""
    return F.layer_norm(x.movedim(1, -1), x.shape[1:2]).movedim(-1, 1)
