"""Norms of one's own: a module, a function and one behind an adapter."""

from .norms_of_channels import ChannelNorm, make_channel_norm
from .plain import RMSNorm, group_norm_silu

__all__ = ["ChannelNorm", "RMSNorm", "group_norm_silu", "make_channel_norm"]
