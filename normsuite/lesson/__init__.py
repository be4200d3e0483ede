"""The source document's worked example as tables and drawings. Imports no torch."""
