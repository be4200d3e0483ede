"""Load a slow library when something in it is first used, instead of when it is imported."""

import importlib
import importlib.util
import sys


def load(*names: str) -> None:
    """Load those modules lazily: when an attribute of theirs is first used, instead of when they are imported.

    `from package import module` has them so from then on, here and elsewhere; `import package.module` and `from
    package.module import name` load them at once. A module that is loaded already stays as it is.

    Args:
        names: of modules within a package, such as "scipy.stats".

    Raises:
        ModuleNotFoundError: there is no such module.
    """
    for name in names:
        package, _, within = name.rpartition(".")
        parent = importlib.import_module(package)
        if name in sys.modules:
            continue
        spec = importlib.util.find_spec(name)
        if spec is None or spec.loader is None:
            raise ModuleNotFoundError(f"no module named {name!r}", name=name)
        spec.loader = importlib.util.LazyLoader(spec.loader)
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
        # For `from package import module`, which asks the module itself, and so loads it, where the package lacks it.
        setattr(parent, within, module)
