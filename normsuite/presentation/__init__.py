"""Tables and charts as data, and the renderers that turn them into a terminal's, HTML's or Markdown's.

Features (bench, gate, history, study, conformance) make the data. Only `accelerator` knows what its rows are about,
which several features have. Imports no torch.
"""
