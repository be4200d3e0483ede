"""Tables and charts as data, and the renderers that turn them into a terminal's, HTML's or Markdown's.

Features (bench, gate, history, study, conformance) make the data; nothing here knows what a table is about. Imports no
torch.
"""
