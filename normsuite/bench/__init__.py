"""Measure the cost of a norm: time, memory and digits lost, for one case at a time."""
