"""Share of the MNIST test digits that a small network gets wrong after one short epoch, one sample a seed."""

from normsuite.study import digits, train

from .parameters import BACKENDS, DEVICES, NORMS, require

SEEDS = (0, 1, 2)
TRAIN_SIZE, BATCH_SIZE = 9_600, 48  # 200 steps: with half as many the norms that start slowly are still at chance
CASES = ["study"]


class ErrorRate:
    """Error rates of the study's network with one norm, an epoch for each seed."""

    params = ([*NORMS, "none"], BACKENDS, CASES, DEVICES)
    param_names = ("norm", "backend", "case", "device")
    unit = "error rate"
    timeout = 600
    version = "2"

    def setup(self, norm, backend, case, device):
        """Skip a combination that cannot run here, and load the digits."""
        require(norm, backend, device)
        if norm == "none" and backend != BACKENDS[0]:
            raise NotImplementedError("without a norm there is nothing for a backend to compute")
        self.digits = digits.load().to(device)

    def track_mnist(self, norm, backend, case, device):
        """Train once for each seed, and return the shares of test digits that were wrong."""
        samples = []
        for seed in SEEDS:
            run = train.Run(
                norm,
                seed,
                epochs=1,
                train_size=TRAIN_SIZE,
                batch_size=BATCH_SIZE,
                backend=backend,
                device=device,
            )
            samples.append(1 - train.train(run, self.digits).epochs[-1].test_accuracy)
        return {"samples": samples, "number": 1}
