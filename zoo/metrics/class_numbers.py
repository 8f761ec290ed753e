"""Metrics of Keras that do not go with class numbers as labels."""

from typing import Any

import keras

# With the metric that takes class numbers instead, if there is one.
_OF_ONE_HOT_LABELS = {
    "CategoricalAccuracy": "SparseCategoricalAccuracy",
    "CategoricalCrossentropy": "SparseCategoricalCrossentropy",
    "TopKCategoricalAccuracy": "SparseTopKCategoricalAccuracy",
    "F1Score": None,
    "FBetaScore": None,
}


def require_class_numbers(metrics: Any) -> None:
    """Raise if one of the metrics takes one-hot labels, and would compute a wrong number.

    Models of the zoo make class numbers of one-hot labels before their losses and metrics see them.

    Args:
        metrics: as ``compile`` takes them: names and objects, in lists and dictionaries.

    Raises:
        ValueError: naming the metric, and what takes its place.
    """
    for metric in keras.tree.flatten(metrics):
        name = getattr(metric, "__name__", metric)
        name = type(metric).__name__ if isinstance(metric, keras.metrics.Metric) else name
        words = name.split("_") if isinstance(name, str) else []
        kind = "".join(word[:1].upper() + word[1:] for word in words)
        if kind in _OF_ONE_HOT_LABELS:
            instead = _OF_ONE_HOT_LABELS[kind]
            raise ValueError(
                f"{name} needs one-hot labels, but a model of the zoo turns labels into class "
                "numbers before its metrics see them"
                + (f"; use keras.metrics.{instead}()" if instead else "")
            )
