"""A `Device` on the processor that writes down what is asked of it, in order; its clock moves with what is queued."""


class Event:
    def __init__(self, device):
        self._device = device

    def record(self):
        self._device.log.append("event")
        self.at_s = self._device.now_s

    def elapsed_time(self, end):
        return (end.at_s - self.at_s) * 1e3


class Double:
    """A device that counts time without waiting.

    Args:
        graph_s: how long a replay takes.
        broken: calls among these cannot be captured.
    """

    def __init__(self, *, graph_s=1e-3, broken=()):
        self.log, self.now_s, self.graph_s, self.broken = [], 0.0, graph_s, broken
        self.graphs = 0

    def capture(self, calls):
        if any(call in self.broken for call in calls):
            self.log.append("failed capture")
            raise RuntimeError("operation not permitted\nwhen stream is capturing")
        self.graphs += 1
        name = f"replay {self.graphs}"
        self.log.append(f"capture of {len(calls)}")

        def replay():
            self.log.append(name)
            self.now_s += self.graph_s

        return replay

    def event(self):
        return Event(self)

    def occupy(self, seconds):
        self.log.append("occupy")
        self.now_s += seconds

    def synchronize(self):
        self.log.append("synchronize")

    def release(self):
        self.log.append("release")
