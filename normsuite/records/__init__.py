"""Records of measurements: their kinds and types, where a result comes from, and how they are stored.

Imports no torch.
"""
