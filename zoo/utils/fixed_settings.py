"""Attributes that are fixed once a layer or a model is built."""

from typing import Any


class FixedSettings:
    """A base class beside a Keras layer or model: assigning an attribute in ``fixed`` raises.

    The attributes are those that other constants were made from, or that a program which Keras
    compiled before the assignment would go on with.
    """

    #: Names of the attributes.
    fixed = ()

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self.fixed and vars(self).get("built"):
            kind = type(self).__name__
            raise AttributeError(
                f"{name} of a {kind} is fixed once it is built; make another one: "
                f"{kind}.from_config({{**old.get_config(), {name!r}: …}})"
            )
        super().__setattr__(name, value)
