"""What a sweep recorded, without what only times depend on, and a pool whose work is done in this process."""

import sys
from concurrent.futures import Future

from normsuite.records import results

SMALL = {"train_size": 640, "batch_size": 64}
COMMAND = (sys.executable, "-m", "normsuite", "study")
WAIT_S = 120


def what_was_found(records):
    """Return by norm and seed all but times, who was there, and what only times depend on."""
    found = {}
    for record in records:
        kept = {k: v for k, v in record.items() if k not in ("written", "workers")}
        epochs = [{k: v for k, v in epoch.items() if k != "seconds"} for epoch in record["samples"]["epochs"]]
        kept["samples"] = {**record["samples"], "epochs": epochs}
        kept["environment"] = {k: v for k, v in record["environment"].items() if k != "allocator"}
        found[record["case"]["norm"], record["case"]["seed"]] = kept
    return found


def recorded(folder):
    read = results.read_records(folder, "study")
    assert not read.damaged
    return what_was_found(read)


class Inline:
    """An executor that works in this process."""

    def __init__(self, *arguments):
        pass

    def submit(self, work, *arguments):
        future = Future()
        try:
            future.set_result(work(*arguments))
        except BaseException as error:
            future.set_exception(error)
        return future

    def shutdown(self, **options):
        pass
