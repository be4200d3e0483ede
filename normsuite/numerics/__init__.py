"""Errors of norms against float64, for inputs further and further from zero."""
