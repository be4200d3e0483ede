"""Which records of errors against float64 a report shows."""

import re

from report_records import write_whole

from normsuite import report
from normsuite.numerics import tables as numerics
from normsuite.records import results
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
    titles = [numerics.titled(record) for record in found.numerics]
    assert len(set(titles)) == 3 and sum(title.endswith(": GroupNorm") for title in titles) == 1
    page, _ = report.write(whole, tmp_path / "out")
    keys = re.findall(r'<section id="([^"]+)"', (page.parent / "numerics.html").read_text())
    assert len(set(keys)) == len(keys) >= 3
    page, _ = report.write_comparison(whole, whole, tmp_path / "both")
    text = page.read_text()
    assert "BatchNorm: A" in text, "the record with all norms is compared, not that of one"


def test_what_one_folder_lacks_is_named(tmp_path):
    write_whole(tmp_path / "one")
    (tmp_path / "none").mkdir()
    page, _ = report.write_comparison(tmp_path / "one", tmp_path / "none", tmp_path / "both")
    assert "Only in A: Largest error against float64" in page.read_text()
    page, _ = report.write_comparison(tmp_path / "none", tmp_path / "one", tmp_path / "both")
    assert "Only in B: Largest error against float64" in page.read_text()
    page, _ = report.write_comparison(tmp_path / "none", tmp_path / "none", tmp_path / "both")
    assert page.read_text().count("In neither folder.") == 4
