"""Charts of a study, one file each, found by `presentation.charts.found`.

A file says in SECTION on which part of the report's page it stands, and makes its charts of a `Study` in `charts`.
"""
