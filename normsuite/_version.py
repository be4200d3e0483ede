"""The version: that of the git tag that the package was built from, as it is installed."""

from importlib import metadata

try:
    __version__ = metadata.version("normsuite")
except metadata.PackageNotFoundError:  # a folder on the path that nothing has installed
    __version__ = "0+unknown"
