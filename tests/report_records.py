"""Records of every kind with made-up numbers and hostile names, for reports to be made of."""

import asv_results
import bench_records
import gate_records

from normsuite.records import provenance, results
from normsuite.spec import NORMS
from normsuite.study import mnist

PAGES = [
    "ahead",
    "conformance",
    "cost",
    "gate",
    "history",
    "index",
    "learning",
    "method",
    "norms",
    "numerics",
    "records",
]

HOSTILE = "<script>alert(1)</script>"

NOT_RECORDED = {
    "no two versions have been compared: run `normsuite gate BASE`",
    "no numerical errors have been recorded: run `normsuite numerics`",
}
"""Notes on what most of these tests do without."""


def watched(seed):
    """Return what newer records have beside the epochs."""
    layer = {"mean": 0.1, "std": 1.0, "shift": 0.2 + seed / 100, "gradient_change": 0.3, "gradient_cosine": 0.9}
    mistake = {"digit": 8, "label": 5, "taken_for": 6, "confidence": 0.75}
    return {
        "shift": [
            {"step": 10 * step, "layers": [{**layer, "shift": layer["shift"] if step else None}] * 2}
            for step in range(6)
        ],
        "mistakes": [mistake, {**mistake, "digit": 9 + seed, "label": 4, "taken_for": 9}],
        "tested": [1000] * 10,
    }


def write_study(folder, *, seeds=3, written="2026-01-01T00:00:00+00:00", further=lambda seed: {}, norms=(), **changes):
    for seed in range(seeds):
        for place, norm in enumerate(norms or ["none", *NORMS]):
            epochs = [
                {
                    "epoch": e, "train_loss": 1 / e + place / 10 + seed / 100, "train_accuracy": 0.9 + e / 100,
                    "test_loss": 0.5 / e + seed / 100, "test_accuracy": 0.95 + e / 100 + seed / 1000, "seconds": 2.0,
                }
                for e in (1, 2, 3)
            ]  # fmt: skip
            record = results.make_record(
                "study",
                {"norm": norm, "seed": seed, "epochs": 3, "dataset": "mnist", **changes},
                {"epochs": epochs, "network_parameters": 8506, "norm_parameters": 16 * place, **further(seed)},
                environment={**provenance.environment(threads=1), "cpu": f"Processor {HOSTILE}"},
                seeds=[seed],
                depends={"norm": norm, "data": mnist.checksum(list(mnist.FILES.values()))},
            )
            record.update(written=written, commit="c" * 40, source="s")
            results.write_record(folder / "study", f"{norm}-{seed}-{results.digest(changes)}", record)


def write_bench(
    folder, *, written="2026-01-01T00:00:00+00:00", task=None, accelerator=None, cpu=f"Processor {HOSTILE}",
    ratios=None, **changes,
):  # fmt: skip
    ratios = ratios or {"auto": 0.5, "flax": 1.5}
    for place, (norm, mode) in enumerate((norm, mode) for norm in NORMS for mode in ("forward", "step")):
        record = bench_records.record(ratios, norm=norm, mode=mode, seed=place)
        record["environment"] |= {"cpu": cpu, "accelerator": accelerator}
        record["case"] |= task or {}
        record["samples"]["refused"] = {"liger": HOSTILE}
        record.update(written=written, commit="c" * 40, source="s", **changes)
        name = f"{norm}-{mode}-{results.digest([changes, task, cpu])}"
        results.write_record(folder / "bench", name, record)


def write_gate(folder, *, written="2026-01-01T00:00:00+00:00", **further):
    counts = {"cell 0": {"base": {"peak bytes": 1000}, "head": {"peak bytes": 1512}}}
    record = gate_records.record(counts=counts)
    record["case"]["head"] |= {"name": HOSTILE, "subject": HOSTILE}
    record["environment"] |= {"cpu": f"Processor {HOSTILE}", "packages": {"torch": "2.14.1"}}
    record.update(written=written, commit="c" * 40, source="s", notes=[HOSTILE], **further)
    results.write_record(folder / "gate", f"gate-{written[:10]}", record)


def write_numerics(folder):
    rows = [
        {"norm": norm, "mean": mean, "backend": backend, "output": 1e-7 * (1 + mean), "gradient": 2e-7}
        for norm in NORMS
        for mean in (0.0, 1e4)
        for backend in ("reference", "torch")
    ]
    rows[-1] |= {"output": float("inf"), "gradient": f"cannot {HOSTILE}"}
    record = results.make_record(
        "numerics",
        {"shape": [64, 32, 32], "dtype": "float32", "device": "cpu"},
        rows,
        environment=provenance.environment(threads=2),
        seeds=[0],
    )
    record.update(written="2026-01-01T00:00:00+00:00", commit="c" * 40, source="s")
    results.write_record(folder / "numerics", "cpu", record)


def write_source(folder):
    """Records as they were before covariate shift and mistakes were recorded."""
    write_study(folder)
    write_bench(folder)
    asv_results.write(folder / "asv" / "results", ["b" * 40, "a" * 40], cpu=f"Other {HOSTILE}")
    return folder


def write_whole(folder):
    """Everything that there is to show."""
    write_source(folder)
    write_gate(folder)
    write_numerics(folder)
    write_study(folder, written="2026-02-01T00:00:00+00:00", further=watched, l1=0.0)
    for size in (2, 32):
        write_study(folder, seeds=2, batch_size=size, train_size=6000)
    return folder
