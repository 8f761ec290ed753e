"""The attacks of zoo, one in each file. Importing this package registers all of them."""

import importlib
import pkgutil

_found = [module.name for module in pkgutil.iter_modules(__path__)]
# The default attacks of an evaluation are registered first, so that they are listed first.
for _name in dict.fromkeys(["fgsm", "pgd", *_found]):
    importlib.import_module(f"{__name__}.{_name}")
