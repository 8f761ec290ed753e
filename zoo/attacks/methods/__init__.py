"""The attacks of this package, one in each file. Importing the package registers all of them."""

import importlib
import pkgutil

_found = [module.name for module in pkgutil.iter_modules(__path__)]
# The two that an evaluation runs by default are registered first, and so are listed first.
for _name in dict.fromkeys(["fgsm", "pgd", *_found]):
    importlib.import_module(f"{__name__}.{_name}")
