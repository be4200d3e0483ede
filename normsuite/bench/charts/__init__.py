"""Charts of a bench, one file each, found by `presentation.charts.found`.

A file says in SECTION on which part of the report's page it stands, and makes its charts of a `Bench` in `charts`;
`own` tells the charts of one comparison from those of another on the same page.
"""
