"""Kernels for a norm whose means run across memory: channels_last, where the channels of one place lie side by side.

A row has one place or several that lie side by side, so that few channels still fill a vector register; a column is a
channel of one of these places. Columns are summed next to each other, row after row, and folded into statistics at the
end. Of short rows four are summed at a time and two written, so that the numbers of a column are read less often; long
ones are taken one by one, since a processor foresees what comes next (of 128 channels and more that took 0.55 to 0.75
of the time). The sums are those of `segments`: deviations from a guess, corrected, and taken again where the guess was
far off; blocks merged in float64.
"""

from .areas import AREAS
from .backward import backward
from .forward import forward

__all__ = ["AREAS", "backward", "forward"]
