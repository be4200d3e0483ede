"""Which records of errors against float64 a report shows."""

from report_records import write_whole

from normsuite import results
from normsuite.numerics import tables as numerics
from normsuite.report.collect import collect


def test_errors_of_other_norms_or_with_an_activation_stand_beside_each_other(tmp_path):
    whole = tmp_path / "reports"
    write_whole(whole)
    (made,) = collect(whole).numerics
    fewer = [row for row in made["samples"] if row["norm"] == "GroupNorm"]
    for name, of in {
        "fewer": {**made, "samples": fewer},
        "relu": {**made, "case": {**made["case"], "activation": "relu"}},
        "again": {**made, "written": "2027-01-01T00:00:00+00:00"},
    }.items():
        results.write_record(whole / "numerics", name, {name: value for name, value in of.items() if name != "digest"})
    found = collect(whole)
    assert len(found.numerics) == 3 and found.numerics[0]["written"].startswith("2027")
    assert "earlier records of numerics are left out: 1" in found.notes
    assert sum("relu" in numerics.titled(record) for record in found.numerics) == 1
