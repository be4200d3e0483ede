"""asv's results over commits: what was recorded, in segments that may be compared, and the steps in them.

Reads results only, and imports no torch.
"""

from .adapter import AsvResult, History, Measurement, read
from .segments import Segment, segments
from .shared_steps import trends
from .steps import Level, Step, Trend

__all__ = [
    "AsvResult",
    "History",
    "Level",
    "Measurement",
    "Segment",
    "Step",
    "Trend",
    "read",
    "segments",
    "trends",
]
