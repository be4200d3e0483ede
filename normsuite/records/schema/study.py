"""Records of a study: one training run each."""

from collections.abc import Iterator
from typing import Annotated, Any

from msgspec import UNSET, Meta, Struct, UnsetType

from .record import Record
from .values import AnyNonNegative, AnyNumber, ByName, Count, Few, NonNegative, NotANumber, Seconds, Share, Size


class StudyCase(Struct):
    """Settings of a training run.

    Attributes:
        norm: its name, or that for a network without one.
        seed: of the initial weights and of the order of the digits.
        epochs, batch_size, learning_rate: of the training.
        dataset: its name.
        hold_out: how many training digits are tested instead of the test digits.
        num_groups, affine, l1, l2, augment, device, backend, train_size: as of `study.train.Run`; older records lack
            some.
        target: a user's norm that took the norm's place.
    """

    norm: str
    seed: Count
    epochs: Few
    batch_size: Size | None = None
    learning_rate: NonNegative | None = None
    dataset: str | None = None
    hold_out: Count | None = None
    num_groups: Size | None = None
    affine: str | None = None
    l1: NonNegative | None = None
    l2: NonNegative | None = None
    augment: bool | None = None
    device: str | None = None
    backend: str | None = None
    train_size: Size | None = None
    target: dict[str, Any] | None = None


class Epoch(Struct):
    """Loss in nats and accuracy on training and test digits in one epoch, from 1 on, and seconds of training."""

    epoch: Few
    train_loss: AnyNonNegative
    train_accuracy: Share
    test_loss: AnyNonNegative
    test_accuracy: Share
    seconds: Seconds


class Layer(Struct):
    """Changes of one layer's inputs since the last look at them, and of its gradient in one step.

    Attributes:
        shift: distance of the inputs' distributions, over the deviation that there was.
        gradient_change: length of the gradient's change, over its length before.
        mean, std: of all inputs of the layer.
        gradient_cosine: of the angle between the gradients.
    """

    shift: AnyNonNegative | None
    gradient_change: AnyNonNegative | None
    mean: AnyNumber | None = None
    std: AnyNonNegative | None = None
    gradient_cosine: Annotated[float, Meta(ge=-1.001, le=1.001)] | ByName | None = None


class Watched(Struct):
    """The layers but the first, right after training step `step`, counted from 0."""

    step: Count
    layers: list[Layer]


class Mistake(Struct):
    """A test digit that the trained network took for another.

    Attributes:
        digit: its place in the test digits.
        label, taken_for: what it is, and what the network said.
        confidence: the probability that the network gave to what it said.
    """

    digit: Count
    label: Annotated[int, Meta(ge=0, le=9)]
    taken_for: Annotated[int, Meta(ge=0, le=9)]
    confidence: Share | NotANumber


class StudySamples(Struct):
    """Results of one run.

    Attributes:
        epochs: one after the other.
        network_parameters, norm_parameters: how many the network has without its norms, and how many these have.
        mistakes: on the test digits.
        tested: how many test digits of each label there are.
        shift: internal covariate shift, twice an epoch.
    """

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
        """Yield what is wrong between fields: missing epochs, or other layers at another step."""
        yield from super().problems()
        epochs = [of.epoch for of in self.samples.epochs]
        if epochs != [*range(1, self.case.epochs + 1)]:
            yield f"samples: epochs: are not 1 to {self.case.epochs}, one after the other"
        watched = self.samples.shift or []
        if len({len(of.layers) for of in watched}) > 1:
            yield "samples: shift: has not the same layers at every step"
