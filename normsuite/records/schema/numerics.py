"""Records of errors against float64."""

from collections.abc import Iterator
from typing import Annotated

from msgspec import Meta, Struct

from .record import Record
from .values import Error, Number, Shape


class NumericsCase(Struct):
    """The input: its shape (N, C, *S), type and device; and the activation after the norm, None without one."""

    shape: Shape
    dtype: str
    device: str
    activation: str | None = None


class ErrorRow(Struct):
    """Largest errors of one backend for one norm, on an input of deviation 1 about `mean`."""

    norm: str
    mean: Number
    backend: str
    output: Error
    gradient: Error


class Numerics(Record, kw_only=True):
    """Errors against float64."""

    case: NumericsCase
    samples: Annotated[list[ErrorRow], Meta(min_length=1)]

    def problems(self) -> Iterator[str]:
        """Yield what is wrong between fields: rows that are there twice, or missing ones."""
        yield from super().problems()
        rows = {(row.norm, row.mean, row.backend) for row in self.samples}
        if len(rows) < len(self.samples):
            yield "samples: a norm, mean and backend are there twice"
        count = 1
        for part in zip(*rows, strict=True):
            count *= len(set(part))
        if count != len(self.samples):
            yield f"samples: has {len(self.samples)} of {count} rows"
