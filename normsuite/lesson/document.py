"""The source document as data, exactly as printed: its worked example, its figures, its labels and its claims.

A lesson on normalization that works through three tiny images by hand and compares three norms on MNIST. Nothing here
is corrected; `explain` computes beside it, and `claims` measures.
"""

from dataclasses import dataclass

IMAGES = (
    (((2, 3),), ((5, 7),), ((11, 13),), ((17, 19),)),
    (((0, 1),), ((1, 2),), ((3, 5),), ((8, 13),)),
    (((1, 2),), ((3, 4),), ((5, 6),), ((7, 8),)),
)
"""The worked example: 3 images of 4 channels of 1 × 2 pixels, (N, C, H, W) = (3, 4, 1, 2)."""


@dataclass(frozen=True)
class Example:
    """The figures that the document prints for one norm.

    Attributes:
        norm: its name.
        mean, std: the figures as printed, in the order of the groups; empty where it works no example.
        std_label: what it calls the second row.
        parameters: the number of learnable parameters as printed, or None.
        num_groups: channels are split into that many groups, or None.
    """

    norm: str
    mean: tuple[str, ...] = ()
    std: tuple[str, ...] = ()
    std_label: str | None = None
    parameters: str | None = None
    num_groups: int | None = None


EXAMPLES = (
    Example(
        norm="BatchNorm",
        mean=("1.5", "3.66", "7.16", "12.0"),
        std=(".91", "1.97", "3.57", "4.6"),
        std_label="std",
        parameters="8",
    ),
    Example(
        norm="LayerNorm",
        mean=("9.625", "4.125", "4.5"),
        std=("5.97", "4.13", "2.29"),
        std_label="std",
        parameters="6",
    ),
    Example(
        norm="GroupNorm",
        mean=("4.25", "15.0", "1.0", "7.25", "2.25", "6.5"),
        std=("1.9", "3.16", ".70", "3.76", "1.11", "1.11"),
        std_label="var",
        num_groups=2,
    ),
    Example(norm="InstanceNorm"),
)

DEFAULT_GROUPS = 2
"""Groups of the worked example for a norm that wants a number and that the document does not name."""


@dataclass(frozen=True)
class Relation:
    """`left` stands to `right`, in that metric, as the document says: "higher", "lower" or "similar".

    The metric is one of `claims.METRICS`; "any norm" stands for each of them in turn, "none" for the network without.
    """

    metric: str
    left: str
    expected: str
    right: str


@dataclass(frozen=True)
class Claim:
    """One sentence of the document, and what it says of measurable things.

    Attributes:
        key: a short name.
        text: the sentence, as printed.
        relations: what it says, pair by pair.
    """

    key: str
    text: str
    relations: tuple[Relation, ...]


CLAIMS = (
    Claim(
        key="convergence",
        text="The basic idea behind normalization is to normalize the output of an activation layer to improve the "
        "convergence during training.",
        relations=(Relation("training loss over all epochs", "any norm", "lower", "none"),),
    ),
    Claim(
        key="covariate shift",
        text="Also normalization reduces Internal Covariate Shift.",
        relations=(Relation("covariate shift", "any norm", "lower", "none"),),
    ),
    Claim(
        key="training loss",
        text="Training loss : Layer normalization has slightly high loss, at the same time Group and Batch "
        "normalization has similar loss",
        relations=(
            Relation("training loss", "LayerNorm", "higher", "BatchNorm"),
            Relation("training loss", "LayerNorm", "higher", "GroupNorm"),
            Relation("training loss", "GroupNorm", "similar", "BatchNorm"),
        ),
    ),
    Claim(
        key="test loss",
        text="Test Loss : Layer normalization has high loss followed by Group Norm. BatchNorm has low loss .",
        relations=(
            Relation("test loss", "LayerNorm", "higher", "GroupNorm"),
            Relation("test loss", "GroupNorm", "higher", "BatchNorm"),
        ),
    ),
    Claim(
        key="training accuracy",
        text="Training accuracy : BatchNorm and GroupNorm reach to high accuracy bit faster compared to LayerNorm",
        relations=(
            Relation("training accuracy over all epochs", "BatchNorm", "higher", "LayerNorm"),
            Relation("training accuracy over all epochs", "GroupNorm", "higher", "LayerNorm"),
        ),
    ),
    Claim(
        key="test accuracy",
        text="Test accuracy : Batch norm has high accuracy followed by Group Norm . Layer norm has slightly less .",
        relations=(
            Relation("test accuracy", "BatchNorm", "higher", "GroupNorm"),
            Relation("test accuracy", "GroupNorm", "higher", "LayerNorm"),
        ),
    ),
    Claim(
        key="overall",
        text="so overall Layer normalization is slightly worse than batch normalization and group normalization . "
        "Group  normalization is somewhere in between",
        relations=(
            Relation("test loss", "LayerNorm", "higher", "BatchNorm"),
            Relation("test loss", "LayerNorm", "higher", "GroupNorm"),
            Relation("test loss", "GroupNorm", "higher", "BatchNorm"),
            Relation("test accuracy", "LayerNorm", "lower", "BatchNorm"),
            Relation("test accuracy", "LayerNorm", "lower", "GroupNorm"),
            Relation("test accuracy", "GroupNorm", "lower", "BatchNorm"),
        ),
    ),
)


def example(norm: str) -> Example:
    """Return what the document prints for that norm; nothing but its name for one that it does not know."""
    return next((e for e in EXAMPLES if e.norm == norm), Example(norm=norm))
