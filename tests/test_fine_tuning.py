"""A new head on pretrained features, frozen or not, by plain compile and fit."""

import importlib.util
import pathlib

import keras
import numpy as np
import pytest

import zoo
from tests import datasets
from tests.models.perturbations import assert_unbroken
from zoo.hub import catalog

pytestmark = pytest.mark.integration

EXAMPLE = pathlib.Path(zoo.__file__).parent.parent / "examples" / "fine_tune.py"
NAMES = [record.name for record in catalog.list_models(dataset="digits")]


@pytest.fixture(scope="module")
def few():
    """Training and test images of the first five classes."""
    example = load_example()
    parts = (zoo.data.load("digits", part) for part in ("train", "test"))
    return [example.images_below(images, 5) for images in parts]


def load_example():
    spec = importlib.util.spec_from_file_location("fine_tune", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("frozen", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_each_approach_learns_and_stays_certified(name, frozen, few):
    train, test = few
    model = zoo.load(name, num_classes=5)
    assert model.num_classes == 5
    for layer in model.feature_layers:
        layer.trainable = not frozen
    rate = 1e-2
    if hasattr(model, "p"):
        # A head of distances has weights of the size of one. Alone, it wants large steps.
        model.p, rate = (8.0, 1e-1) if frozen else (24.0, 1e-2)
    features = [layer.get_weights() for layer in model.feature_layers]
    model.compile(keras.optimizers.Adam(rate))
    history = model.fit(train.images, train.labels, epochs=6, verbose=0).history["loss"]
    assert history[-1] < history[0]
    unchanged = [
        np.array_equal(old, new)
        for before, layer in zip(features, model.feature_layers, strict=True)
        for old, new in zip(before, layer.get_weights(), strict=True)
    ]
    assert all(unchanged) == frozen
    certificate = model.certify(test.images)
    assert (certificate.prediction == test.labels).mean() > 0.4
    eps = float(np.median(certificate.radius))
    assert eps > 0
    x, own = test.images[:20], certificate.prediction[:20]
    x_adv = model.attack(x, own, "pgd", eps=eps, steps=10, restarts=1, loss="margin")
    assert_unbroken(model, model.certify(x), x, x_adv)


def dense_chain(*end):
    layers = [keras.Input((4, 4, 1)), keras.layers.Flatten(), keras.layers.Dense(8, "tanh")]
    return keras.Sequential([*layers, keras.layers.Dense(4, name="head"), *end])


def test_the_head_is_what_is_replaced():
    """Also where it is not the last of the layers, or inside another model."""
    ended = dense_chain(keras.layers.Dropout(0.5))
    inner = keras.Sequential([keras.layers.Dense(8, "relu"), keras.layers.Dense(4, name="head")])
    nested = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten(), inner])
    for model in (zoo.models.CurvatureNet(ended), zoo.models.LipschitzMarginNet(nested)):
        tuned = model.with_new_head(3)
        for layer in tuned.feature_layers:
            layer.trainable = False
        assert [tuple(v.shape) for v in tuned.trainable_variables] == [(8, 3), (3,)]


@pytest.mark.parametrize("kind", ["LipschitzMarginNet", "DoubleBackpropNet"])
def test_without_a_head_there_are_no_features(kind):
    z = image = keras.Input((4, 4, 1))
    z = keras.layers.Flatten()(z)
    both = [keras.layers.Dense(4)(z) for _ in range(2)]
    model = getattr(zoo.models, kind)(keras.Model(image, keras.layers.Add()(both)))
    with pytest.raises(ValueError, match="no dense layer"):
        _ = model.feature_layers
    with pytest.raises(ValueError, match="no dense layer"):
        model.with_new_head(3)


def test_the_tutorial_runs_at_small_size():
    results = load_example().main(["--quick", "--epochs", "1", "--test", "100"])
    assert {way for _, way in results} == {"head alone", "all layers", "from scratch"}
    for clean, certified in results.values():
        assert 0 <= certified <= clean <= 1


@pytest.mark.slow
def test_fine_tuning_beats_training_from_scratch():
    datasets.load("fashion-mnist")  # or a skip that says why
    results = load_example().main([])
    for name in load_example().FULL:
        tuned, scratch = (results[name, way] for way in ("all layers", "from scratch"))
        assert tuned[1] > scratch[1]
