"""Records of a study: one training run each."""

from collections.abc import Iterator
from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from .record import Record
from .values import AnyNumber, AnyPositive, ByName, Count, Few, NotANumber, Positive, Seconds, Share, Size


class StudyCase(Struct):
    norm: str
    seed: Count
    epochs: Few
    batch_size: Size | None = None
    learning_rate: Positive | None = None
    dataset: str | None = None
    hold_out: Count | None = None


class Epoch(Struct):
    epoch: Few
    train_loss: AnyPositive
    train_accuracy: Share
    test_loss: AnyPositive
    test_accuracy: Share
    seconds: Seconds


class Layer(Struct):
    shift: AnyPositive | None
    gradient_change: AnyPositive | None
    mean: AnyNumber | None = None
    std: AnyPositive | None = None
    gradient_cosine: Annotated[float, Meta(ge=-1.001, le=1.001)] | ByName | None = None


class Watched(Struct):
    step: Count
    layers: list[Layer]


class Mistake(Struct):
    digit: Count
    label: Annotated[int, Meta(ge=0, le=9)]
    taken_for: Annotated[int, Meta(ge=0, le=9)]
    confidence: Share | NotANumber


class StudySamples(Struct):
    epochs: Annotated[list[Epoch], Meta(min_length=1)]
    network_parameters: Size
    norm_parameters: Count
    mistakes: list[Mistake] | UnsetType = UNSET
    tested: Annotated[list[Count], Meta(min_length=10, max_length=10)] | UnsetType = UNSET
    shift: list[Watched] | UnsetType = UNSET


class Study(Record, kw_only=True):
    """A training run."""

    case: StudyCase
    samples: StudySamples

    def problems(self) -> Iterator[str]:
        yield from super().problems()
        epochs = [of.epoch for of in self.samples.epochs]
        if epochs != [*range(1, self.case.epochs + 1)]:
            yield f"samples: epochs: are not 1 to {self.case.epochs}, one after the other"
        watched = self.samples.shift or []
        if len({len(of.layers) for of in watched}) > 1:
            yield "samples: shift: has not the same layers at every step"
