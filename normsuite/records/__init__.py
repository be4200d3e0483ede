"""Records of measurements: their kinds and types, and where a result comes from; files read, written and cached.

Imports no torch.
"""
