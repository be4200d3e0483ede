"""Numba's cache in a folder whose name depends on the sources, and not on where they lie.

Numba names a folder within its cache by the path of a function's file. Every version that a gate exports lies in
another place, so that the same kernels would be compiled anew for each: as long as the measurement itself.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from numba.core import config
from numba.core.caching import UserProvidedCacheLocator


class Locator(UserProvidedCacheLocator):
    """Numba's locator of cached functions, with the name of a file's folder instead of its path.

    Numba 0.61 has no such setting, and keeps its own; the sources' digest in the cache's name tells versions apart.
    """

    @classmethod
    def get_suitable_cache_subpath(cls, py_file):
        """Return the folder for a file's functions, within the cache."""
        return Path(py_file).parent.name


@contextmanager
def cached_in(folder: str | None) -> Iterator[None]:
    """Set the folder in which Numba keeps what is compiled within the block; None leaves its own setting."""
    before = config.CACHE_DIR, getattr(config, "CACHE_LOCATOR_CLASSES", "")
    if folder is not None:
        config.CACHE_DIR, config.CACHE_LOCATOR_CLASSES = folder, f"{__name__}.{Locator.__name__}"
    try:
        yield
    finally:
        config.CACHE_DIR, config.CACHE_LOCATOR_CLASSES = before
