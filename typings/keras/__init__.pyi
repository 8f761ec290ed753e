# Keras annotates next to nothing, and what a type checker infers from its dispatch over backends is
# wrong: every tensor of keras.ops would be None or OpenVINO's. To the type checker, whatever comes
# from Keras is of an unknown type.
from typing import Any

def __getattr__(name: str) -> Any: ...
