"""What a record of a run has to have, for whoever reads it. Imports no torch."""

from .. import shapes

OF_AN_EPOCH = ("epoch", "train_loss", "train_accuracy", "test_loss", "test_accuracy", "seconds")
_OF_A_CASE = ("norm", "seed", "epochs")
_OF_SAMPLES = ("epochs", "network_parameters", "norm_parameters")


def problem(record: dict) -> str | None:
    """What it lacks, or None where all is there that everybody reads of it."""
    case, samples = record["case"], record["samples"]
    if not all(isinstance(part, dict) for part in (case, samples, record["environment"])):
        return "its parts are of other kinds"
    missing = [name for of, names in ((case, _OF_A_CASE), (samples, _OF_SAMPLES)) for name in names if name not in of]
    if missing:
        return f"lacks {', '.join(missing)}"
    epochs = samples["epochs"]
    if not isinstance(epochs, list) or len(epochs) != case["epochs"]:
        return f"has not {case['epochs']} epochs"
    whole = all(isinstance(epoch, dict) and set(OF_AN_EPOCH) <= epoch.keys() for epoch in epochs)
    return shapes.problem(record) if whole else "an epoch lacks something"
