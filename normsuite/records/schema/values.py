"""Ranges and lengths of the values in records.

Ranges exclude NaN; a measurement that may give NaN or an infinity stores it by name, as JSON has neither.
"""

from typing import Annotated

from msgspec import Meta

Share = Annotated[float, Meta(ge=0, le=1)]
NonNegative = Annotated[float, Meta(ge=0, le=1.7e308)]
Number = Annotated[float, Meta(ge=-1.7e308, le=1.7e308)]
ByName = Annotated[str, Meta(pattern="^(nan|inf|-inf)$")]
NonNegativeByName = Annotated[str, Meta(pattern="^(nan|inf)$")]
NotANumber = Annotated[str, Meta(pattern="^nan$")]
AnyNumber = Number | ByName
AnyNonNegative = NonNegative | NonNegativeByName
Error = NonNegative | str
"""An error of numerics; by name where it is not finite, or the reason why there is none."""

Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Size = Annotated[int, Meta(ge=1, le=2**63 - 1)]
Few = Annotated[int, Meta(ge=1, le=10**6)]
Seconds = NonNegative
Time = Annotated[float, Meta(ge=1e-12, le=1e6)]
Shape = Annotated[list[Size], Meta(min_length=1, max_length=16)]
