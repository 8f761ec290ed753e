# Numba has no annotations, and compiles what it decorates into callables with other arguments than
# a type checker infers. To the type checker, whatever comes from Numba is of an unknown type.
from typing import Any

def __getattr__(name: str) -> Any: ...
