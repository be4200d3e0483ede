"""Which records of a study a report takes means over: one version of each norm, one learning rate, the same seeds."""

import pytest
from report_records import write_source, write_study

from normsuite.records import results
from normsuite.report.collect import collect
from normsuite.spec import NORMS
from normsuite.study import tables as study
from tools import compact

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture
def source(tmp_path):
    return write_source(tmp_path / "reports")


def test_norms_may_have_learning_rates_of_their_own(source):
    for record in list(collect(source).study):
        record["case"]["learning_rate"] = 0.01 if record["case"]["norm"] == "none" else 0.02
        record["written"] = "2026-02-01T00:00:00+00:00"
        name = f"rates-{record['case']['norm']}-{record['case']['seed']}"
        results.write_record(source / "study", name, record)
    found = collect(source)
    assert len(found.study) == 18 and {r["written"][:7] for r in found.study} == {"2026-02"}
    rows = dict(study.method(found.studied).rows)
    assert rows["learning rate"].startswith("none 0.01, BatchNorm 0.02")


def write_rates(folder, rates, written):
    """Records of three seeds of every norm with each of those rates, the last written at that second."""
    for rate in rates:
        for norm in ("none", *NORMS):
            moment = written[rate, norm] if isinstance(written, dict) else written
            write_study(folder, learning_rate=rate, written=f"2026-01-01T00:00:{moment:02}+00:00", norms=[norm])


def test_norms_of_a_sweep_are_compared_at_one_learning_rate(tmp_path):
    """Which of its runs ends last is chance."""
    rates = (0.01, 0.04)
    last = {(rate, norm): place if rate == 0.04 else 3 for rate in rates for place, norm in enumerate(("none", *NORMS))}
    write_rates(tmp_path, rates, last)
    found = collect(tmp_path)
    assert {record["case"]["learning_rate"] for record in found.study} == {0.04}
    assert f"{3 * (1 + len(NORMS))} records of other learning rates are left out" in found.notes


def test_a_norm_that_alone_was_given_another_rate_last_has_that_one(tmp_path):
    write_rates(tmp_path, [0.04], 1)
    write_study(tmp_path, learning_rate=0.01, written="2026-01-01T00:00:02+00:00", norms=["GroupNorm"])
    rates = {record["case"]["norm"]: record["case"]["learning_rate"] for record in collect(tmp_path).study}
    assert rates.pop("GroupNorm") == 0.01 and set(rates.values()) == {0.04}


def write_version(folder, version, seeds, written):
    """Records of a user's norm, as of one version of its sources."""
    write_study(folder, seeds=3, written="2026-01-01T00:00:00+00:00")
    for seed in range(seeds):
        name = next(folder.glob(f"study/GroupNorm-{seed}-*.json")).stem
        record = results.read_record(folder / "study" / f"{name}.json")
        record["case"]["norm"] = "mynorms:Norm"
        record["depends"]["norm"] = {"like": "GroupNorm", "source": version}
        record["written"] = written
        results.write_record(folder / "study", f"mine-{version}-{seed}", record)


def test_versions_of_a_user_s_norm_are_not_mixed_and_the_one_that_counts_is_named(tmp_path):
    """Seeds of the version before are no seeds of this one."""
    write_version(tmp_path, "mynorms 1", 3, "2026-01-02T00:00:00+00:00")
    write_version(tmp_path, "mynorms 2", 2, "2026-01-03T00:00:00+00:00")
    found = collect(tmp_path)
    mine = [record for record in found.study if record["case"]["norm"] == "mynorms:Norm"]
    assert [record["depends"]["norm"]["source"] for record in mine] == ["mynorms 2"] * 2
    assert "mynorms:Norm: trained as of mynorms 2; 3 records of other versions are left out" in found.notes


@pytest.mark.parametrize("differs", ["arguments", "axes"])
def test_norms_of_one_name_and_other_settings_are_not_mixed(tmp_path, differs):
    write_study(tmp_path, seeds=3, written="2026-01-01T00:00:00+00:00")
    for number, (seeds, eps) in enumerate(((3, 1e-3), (2, 1e-5))):
        for seed in range(seeds):
            name = next(tmp_path.glob(f"study/GroupNorm-{seed}-*.json")).stem
            record = results.read_record(tmp_path / "study" / f"{name}.json")
            record["case"]["norm"] = "mynorms:Norm"
            if differs == "arguments":
                record["case"]["target"] = {"make": "mynorms:Norm", "kwargs": {"eps": eps}}
            else:
                record["depends"]["norm"] = {"name": "Norm", "axes": ["group", "spatial"][number:]}
            record["written"] = f"2026-01-0{2 + number}T00:00:00+00:00"
            results.write_record(tmp_path / "study", f"mine-{number}-{seed}", record)
    found = collect(tmp_path)
    mine = [record for record in found.study if record["case"]["norm"] == "mynorms:Norm"]
    assert len(mine) == 2 and {record["written"][:10] for record in mine} == {"2026-01-03"}
    assert "mynorms:Norm: 3 records of other versions are left out" in found.notes


def test_a_folder_that_the_study_wrote_into_is_one_to_report_from(tmp_path):
    write_study(tmp_path)
    for path in (tmp_path / "study").iterdir():
        path.rename(tmp_path / f"study-{path.name}")
    (tmp_path / "study").rmdir()
    assert len(collect(tmp_path).study) == 3 * (1 + len(NORMS))
    compact.pack(tmp_path, tmp_path / "study.jsonl.xz", "study-*.json")
    for path in tmp_path.glob("study-*.json"):
        path.unlink()
    assert len(collect(tmp_path).study) == 3 * (1 + len(NORMS)), "packed, too"
