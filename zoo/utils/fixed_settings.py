"""A mixin for layers and models with attributes that are fixed once they are built."""

from typing import Any


class FixedSettings:
    """Mixin for a Keras layer or model: assigning to an attribute in ``fixed`` raises an error.

    A class lists attributes from which ``build`` computes others, or whose values are part of the
    functions that Keras compiles: neither would notice a later assignment.
    """

    #: Names of the fixed attributes.
    fixed = ()

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self.fixed and vars(self).get("built"):
            kind = type(self).__name__
            raise AttributeError(
                f"{name} of a {kind} is fixed once it is built; make another one: "
                f"{kind}.from_config({{**old.get_config(), {name!r}: …}})"
            )
        super().__setattr__(name, value)
