"""Measure the cost of a norm: time, memory and digits lost, for one task at a time."""
