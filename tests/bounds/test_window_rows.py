"""Rows that are kept as windows are the rows that they stand for."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import zoo
from zoo.bounds import crown
from zoo.bounds.interval import boxes_of
from zoo.bounds.perturbation import PerturbationSet
from zoo.bounds.rules.affine import AffineRule
from zoo.bounds.rules.conv import ConvRule
from zoo.bounds.rules.dense import DenseRule
from zoo.bounds.window_rows import WindowRows
from zoo.ops.precision import double_precision


def network(padding, strides, size):
    keras.utils.set_random_seed(1)
    parts = [
        layers.Conv2D(3, size, strides, padding, activation="relu"),
        layers.BatchNormalization(),
        layers.Conv2D(4, 3, 1, padding, activation="tanh"),
        layers.Dropout(0.5),
        layers.Conv2D(2, 2, (2, 1), padding, activation="relu"),
        layers.Flatten(),
    ]
    model = keras.Sequential([keras.Input((9, 8, 2)), *parts, layers.Dense(3)])
    random = np.random.default_rng(0)
    for weight in model.weights:
        if "seed" not in weight.path:
            weight.assign(0.3 + 0.5 * np.abs(random.normal(size=weight.shape)))
            if "kernel" in weight.path or "beta" in weight.path or "bias" in weight.path:
                weight.assign(random.normal(size=weight.shape) / 3)
    return model


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize(
    ("padding", "strides", "size"), [("same", 2, 3), ("valid", 1, (2, 3)), ("same", 3, 2)]
)
def test_windows_give_the_bounds_of_whole_rows(padding, strides, size, norm, monkeypatch):
    """Also at the border of the image, and where strides are longer than the kernel."""
    model = network(padding, strides, size)
    x = np.random.default_rng(2).uniform(size=(2, 9, 8, 2))
    found = []
    with double_precision():
        rules = zoo.bounds.rules_of(model)
        for rule in rules:
            rule.prepare()
        eps = ops.convert_to_tensor(np.array([0.05, 0.1]), "float64")
        center = ops.convert_to_tensor(x, "float64")
        region = PerturbationSet(center, eps, norm, (0.0, 1.0))
        place = next(i for i, r in enumerate(rules, start=1) if r.output_shape[-1] == 4)
        assert isinstance(rules[place - 1].rows_of(np.zeros((2, 1), int)), WindowRows)
        for whole in (False, True):
            if whole:
                for kind, method in (
                    (ConvRule, "rows_of"),
                    (ConvRule, "transposed"),
                    (DenseRule, "rows_of"),
                    (DenseRule, "transposed"),
                ):
                    monkeypatch.setattr(kind, method, getattr(AffineRule, method))
            boxes = crown.relaxed(rules, region).boxes
            found.append([ops.convert_to_numpy(end) for box in boxes for end in box])
        plain = boxes_of(rules, region)
    for windows, rows in zip(*found, strict=True):
        np.testing.assert_allclose(windows, rows, rtol=1e-9, atol=1e-9)
    assert (ops.convert_to_numpy(plain[-2][1]) > found[0][-3] + 1e-6).any()


def test_the_transposed_convolution_is_that_of_the_layer():
    """``rows · conv(x)`` is ``transposed(rows) · x``, also where no window reaches a pixel."""
    random = np.random.default_rng(3)
    with double_precision():
        for padding, strides, size in (("same", 2, 3), ("valid", 3, 2), ("valid", 2, 4)):
            model = keras.Sequential(
                [keras.Input((9, 8, 2)), layers.Conv2D(3, size, strides, padding)]
            )
            (rule,) = zoo.bounds.rules_of(model)
            rule.prepare()
            x = random.normal(size=(5, 9, 8, 2))
            rows = random.normal(size=(1, 4, *rule.output_shape))
            outputs = ops.convert_to_numpy(rule.linear(ops.convert_to_tensor(x, "float64")))
            back = ops.convert_to_numpy(rule.transposed(ops.convert_to_tensor(rows, "float64")))
            assert back.shape == (1, 4, 9, 8, 2)
            np.testing.assert_allclose(
                np.einsum("rhwc,nhwc->nr", back[0], x),
                np.einsum("rhwc,nhwc->nr", rows[0], outputs),
                rtol=1e-9,
            )
