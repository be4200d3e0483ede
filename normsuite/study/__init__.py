"""The study: the same small network with each norm in turn, trained on handwritten digits."""
