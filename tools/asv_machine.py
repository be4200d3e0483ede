"""Describe this machine to asv, with its accelerator, and print the name: `python -m tools.asv_machine`.

It is for `asv run --machine`. asv tells machines apart by their names, and results of two devices in one machine must
not be mixed.
"""

import re

import torch
from asv.machine import Machine, MachineCollection

from normsuite.machine import device as devices


def described(accelerator: str | None) -> dict[str, str]:
    """Return what asv stores about this machine; an accelerator's model is part of its name and its processor.

    Args:
        accelerator: its model; None where there is none.
    """
    found = Machine.get_defaults()
    if accelerator is not None:
        model = re.sub(r"[^a-z0-9]+", "-", accelerator.lower()).strip("-")
        found |= {"machine": f"{found['machine']}-{model}", "cpu": f"{found['cpu']}, {accelerator}"}
    return found


def main() -> None:
    """Store the machine in asv's file in the home directory, and print its name."""
    found = torch.accelerator.current_accelerator(check_available=True)
    machine = described(None if found is None else devices.name(str(found)))
    MachineCollection.save(machine["machine"], machine)
    print(machine["machine"])


if __name__ == "__main__":
    main()
