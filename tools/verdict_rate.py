"""Measure how often `normsuite.compare` is wrong: a callable beside itself, and beside itself with more to do.

python -m tools.verdict_rate --comparisons 200 --seconds 0.5
"""

import argparse

import torch

import normsuite
from normsuite.gate.self_check_rates import Rate
from normsuite.versus.result import FASTER, SLOWER

SHAPE = (16, 64, 14, 14)
GROUPS = 32


def main() -> None:
    """Measure and print both rates."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--comparisons", type=int, default=200)
    parser.add_argument("--injected", type=int, default=20, help="comparisons with more to do")
    parser.add_argument("--more", type=float, default=0.03, help="how much more, as a share")
    parser.add_argument("--seconds", type=float, default=0.5)
    given = parser.parse_args()
    x = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))
    norm = torch.nn.GroupNorm(GROUPS, SHAPE[1])
    plain = range(1000)
    longer = range(round(1000 * (1 + given.more)))

    def call() -> torch.Tensor:
        with torch.no_grad():
            return norm(x)

    same = [normsuite.compare({"a": call, "b": call}, seconds=given.seconds) for _ in range(given.comparisons)]
    # Python's own loop takes exactly as much more as it is longer.
    more = [
        normsuite.compare({"a": lambda: sum(plain), "b": lambda: sum(longer)}, seconds=given.seconds)
        for _ in range(given.injected)
    ]
    wrong = sum(result.verdict in (FASTER, SLOWER) for result in same)
    found = sum(result.verdict == SLOWER for result in more)
    print(
        f"{wrong} of {len(same)} comparisons of a callable with itself are called faster or slower "
        f"(at most {100 * Rate(wrong, len(same)).at_most:.1f} %, 95 %); "
        f"{100 * given.more:g} % more to do is found in {found} of {len(more)}"
    )


if __name__ == "__main__":
    main()
