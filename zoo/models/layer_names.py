"""Names of the layers of a network."""

import collections


class LayerNames:
    """Numbers the names of the layers of one network: ``dense``, ``dense_1``, ``dense_2``.

    Keras numbers the layers of all models of a process. A network that is made by its name would
    then have other names of layers in each process, in bounds and in messages.

    Examples:
        >>> from zoo.models.layer_names import LayerNames
        >>> names = LayerNames()
        >>> names("dense"), names("dense"), names("flatten")
        ('dense', 'dense_1', 'flatten')
    """

    def __init__(self) -> None:
        self._used: collections.Counter[str] = collections.Counter()

    def __call__(self, kind: str) -> str:
        """The next name of a kind of layers."""
        number = self._used[kind]
        self._used[kind] += 1
        return f"{kind}_{number}" if number else kind
