"""Run a command while another process burns a core at random, as a busy neighbour on the machine would.

    python -m tools.beside_burner -- normsuite self-check --tables 6 --injected-tables 0 --out FOLDER

The other process computes for up to `LONGEST_S` and sleeps as long in turn, both drawn anew each time. The records of
such a self-check are what `tools.simulate_gate` draws the noise "burner" from.
"""

import argparse
import multiprocessing
import random
import subprocess
import sys
import time

LONGEST_S = 4.0


def burn() -> None:
    """Compute and sleep in turn, for ever."""
    draw = random.Random()
    while True:
        end = time.perf_counter() + draw.uniform(0, LONGEST_S)
        while time.perf_counter() < end:
            sum(range(10_000))
        time.sleep(draw.uniform(0, LONGEST_S))


def main() -> None:
    """Run the command, and end with its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", nargs="+", help="behind --")
    command = parser.parse_args().command
    neighbour = multiprocessing.get_context("spawn").Process(target=burn, daemon=True)
    neighbour.start()
    try:
        sys.exit(subprocess.run(command, check=False).returncode)
    finally:
        neighbour.terminate()


if __name__ == "__main__":
    main()
