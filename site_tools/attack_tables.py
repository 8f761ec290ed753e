"""Tables of the attacks and their parameters."""

import dataclasses
import inspect

from zoo.attacks import ATTACKS
from zoo.utils.norms import SYMBOLS

_SHOWN = {**SYMBOLS, "tensorflow": "TensorFlow", "jax": "JAX"}


def attack_tables():
    """Markdown tables: the registered attacks, their parameters, and cleverhans' names for them."""
    attacks = [["attack", "class", "norms", "backends", "what it does"], ["---"] * 5]
    parameters = [["attack", "parameter", "default", "what it is"], ["---"] * 4]
    renamed = [["attack", "parameter", "name in cleverhans, which is accepted too"], ["---"] * 3]
    for name, kind in ATTACKS.items():
        summary = inspect.getdoc(kind).split("\n")[0].rstrip(".")
        limits = [", ".join(map(_SHOWN.get, names)) for names in (kind.norms, kind.backends)]
        attacks.append([f"`{name}`", f"`{kind.__name__}`", *limits, summary])
        parameters += [
            [f"`{name}`", f"`{field.name}`", f"`{field.default!r}`", field.metadata["help"]]
            for field in dataclasses.fields(kind)
        ]
        renamed += [
            [f"`{name}`", f"`{field.name}`", f"`{field.metadata['cleverhans']}`"]
            for field in dataclasses.fields(kind)
            if field.metadata.get("cleverhans")
        ]
    tables = (attacks, parameters, renamed)
    return "\n\n".join("\n".join(f"| {' | '.join(row)} |" for row in table) for table in tables)
