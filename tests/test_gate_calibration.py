"""How many additions make a slowdown of a given size."""

from types import SimpleNamespace

from normsuite.gate import calibrate
from normsuite.measure import own_workloads


def test_a_process_that_was_disturbed_does_not_decide(monkeypatch):
    """The numbers of several processes differ, by far where one had to share its core."""
    first, second = own_workloads.plan(only=["LayerNorm/torch/tiny/*"])
    (absent,) = own_workloads.plan(only=["GroupNorm/torch/tiny/step"])
    of_processes = iter([(40, 7), (12, 9), (15, 8)])

    def messages(*_, **limits):
        return [{"cell": place, "additions": number} for place, number in enumerate(next(of_processes))]

    monkeypatch.setattr(calibrate.listening, "messages", messages)
    tree = SimpleNamespace(folder="", packages=[])
    assert calibrate.additions(tree, {first: 0.01, second: 0.02, absent: 0.05}, threads=1) == {first: 15, second: 8}
    assert next(of_processes, None) is None
