"""Is somebody's norm right? Named checks of a target, each with a result, as a table and as pytest items."""

from .check import check
from .result import ConformanceError, Finding, Report, Result

__all__ = ["ConformanceError", "Finding", "Report", "Result", "check"]
