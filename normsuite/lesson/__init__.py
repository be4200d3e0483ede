"""The source document as data: its worked example computed again, its claims, and tables and drawings of both.

Imports no torch.
"""
