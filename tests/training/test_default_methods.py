"""Which certificates a recipe measures that names none."""

import types

import numpy as np
import pytest

import zoo
from training.measure import _certified


@pytest.mark.parametrize(
    ("offered", "measured"),
    [
        (("crown", "crown-interval", "interval", "exact"), ["crown", "crown-interval", "interval"]),
        (("crown-interval", "crown", "interval"), ["crown-interval", "interval"]),
        (("curvature",), ["curvature"]),
    ],
)
def test_slow_certificates_are_measured_on_request_alone(offered, measured):
    class Model:
        certificates = tuple(("linf", method) for method in offered)

        def certify(self, images, norm, method, verbose):
            return types.SimpleNamespace(method=method, accuracy=lambda labels, eps: 0.5)

    test = zoo.data.load("digits", "test").take(3)
    results, certificate = _certified(Model(), test, {"measure": {"eps": [0.1]}}, 0)
    assert [result.method for result in results] == measured
    assert certificate.method == measured[0]
    assert np.isclose([result.accuracy for result in results], 0.5).all()
    recipe = {"measure": {"eps": [0.1], "methods": ["crown"]}}
    asked, _ = _certified(Model(), test, recipe, 0)
    assert [result.method for result in asked] == ["crown"]
