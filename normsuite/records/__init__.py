"""Records of measurements: their kinds and types, where a result comes from, and how files are read, written and cached.

Imports no torch.
"""
