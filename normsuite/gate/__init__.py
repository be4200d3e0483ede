"""Compare two versions of a package side by side: whether one is slower, heavier or less accurate than the other."""
