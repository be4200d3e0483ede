"""Two or more callables timed in turn: which one takes less, with an interval and a verdict."""

from .compare import compare
from .result import Comparison, Result

__all__ = ["Comparison", "Result", "compare"]
