"""Keras's own layers against the operators they are, and the graphs made of them."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import layers

import zoo
from tests.layers.lipschitz import matrix_of, steepest
from zoo.bounds.graph import nodes_of
from zoo.bounds.lipschitz import LipschitzNetwork
from zoo.ops.float32 import sum_rounding
from zoo.ops.precision import double_precision

IMAGE = (7, 6, 2)
KINDS = ("dense", "blocked dense", "nonexpansive dense", "conv")

AFFINE = {
    "dense": lambda: layers.Dense(3),
    "convolution": lambda: layers.Conv2D(3, 3, padding="same"),
    "strided convolution": lambda: layers.Conv2D(3, (3, 2), strides=2),
    "grouped convolution": lambda: layers.Conv2D(4, 3, groups=2),
    "dilated convolution": lambda: layers.Conv2D(3, 2, dilation_rate=2),
    "depthwise convolution": lambda: layers.DepthwiseConv2D(3, 1, "same", depth_multiplier=2),
    "transposed convolution": lambda: layers.Conv2DTranspose(3, 3, 2, "same"),
    "transposed valid convolution": lambda: layers.Conv2DTranspose(3, (2, 3), 2, "valid"),
    "transposed convolution with gaps": lambda: layers.Conv2DTranspose(3, 1, 2, "same"),
    "transposed valid convolution with gaps": lambda: layers.Conv2DTranspose(3, (1, 2), 3, "valid"),
    "average pooling": lambda: layers.AveragePooling2D(3, 2, padding="same"),
    "overlapping average pooling": lambda: layers.AveragePooling2D((3, 2), 1),
    "global average pooling": lambda: layers.GlobalAveragePooling2D(),
    "batch normalisation": lambda: layers.BatchNormalization(),
    "batch normalisation of rows": lambda: layers.BatchNormalization(axis=1),
    "rescaling": lambda: layers.Rescaling(2.0, -0.5),
    "rescaling of channels": lambda: layers.Rescaling([2.0, -3.0], [0.5, 0.1]),
    "normalization": lambda: layers.Normalization(mean=[0.4, 0.5], variance=[0.04, 0.09]),
    "mean shift": lambda: zoo.layers.MeanShift(),
    "zero padding": lambda: layers.ZeroPadding2D((1, 2)),
    "cropping": lambda: layers.Cropping2D(1),
    "up-sampling": lambda: layers.UpSampling2D(2),
    "permutation": lambda: layers.Permute((3, 1, 2)),
    "flatten": lambda: layers.Flatten(),
    "dropout": lambda: layers.Dropout(0.5),
    "equalized dense": lambda: zoo.layers.EqualizedDense(3),
    "pixel unshuffle": lambda: zoo.layers.PixelUnshuffle(2),
    "pixel unshuffle with zeros": lambda: zoo.layers.PixelUnshuffle(4),
    "pixel shuffle": lambda: zoo.layers.PixelShuffle(1),
    "roll": lambda: zoo.layers.Roll(1),
    "nonexpansive dense": lambda: zoo.layers.NonexpansiveDense(3, parametrization="free"),
}
OTHERS = {
    "relu": lambda: layers.ReLU(),
    "leaky relu": lambda: layers.LeakyReLU(3.0),
    "relu with a slope": lambda: layers.ReLU(negative_slope=2.0, max_value=1.0),
    "relu6": lambda: layers.ReLU(max_value=6.0),
    "prelu": lambda: layers.PReLU(shared_axes=[1, 2]),
    "elu": lambda: layers.ELU(2.0),
    "activation": lambda: layers.Activation("relu"),
    "tanh": lambda: layers.Activation("tanh"),
    "sigmoid": lambda: layers.Activation("sigmoid"),
    "selu": lambda: layers.Activation("selu"),
    "silu": lambda: layers.Activation("silu"),
    "gelu": lambda: layers.Activation("gelu"),
    "hard sigmoid": lambda: layers.Activation("hard_sigmoid"),
    "softsign": lambda: layers.Activation("softsign"),
    "dense with activation": lambda: layers.Dense(3, activation="leaky_relu"),
    "max pooling": lambda: layers.MaxPooling2D(3, 1, padding="same"),
    "max pooling apart": lambda: layers.MaxPooling2D(2),
    "global max pooling": lambda: layers.GlobalMaxPooling2D(),
    "max-min": lambda: zoo.layers.MaxMin(),
    "two-sided relu": lambda: zoo.layers.TwoSidedReLU(),
    "norm pooling": lambda: zoo.layers.NormPooling2D(2),
}


def steps_of(model):
    return LipschitzNetwork(model).steps


def constant_of(model):
    """The product of all steps."""
    return float(np.prod([step.bound().lipschitz for step in steps_of(model)]))


def sequential(*parts):
    return keras.Sequential([keras.Input(IMAGE), *parts])


def wild(model, seed=0):
    """Weights and moving statistics as training might leave them."""
    random = np.random.default_rng(seed)
    for weight in model.weights:
        if "seed" in weight.path:
            continue
        values = random.normal(size=weight.shape)
        weight.assign(np.abs(values) + 0.1 if "variance" in weight.path else values)
    return model


@pytest.mark.parametrize("name", AFFINE)
def test_bounds_of_affine_layers_hold_for_the_whole_operator(name):
    model = wild(sequential(AFFINE[name]()))
    (bound,) = steps_of(model)
    exact = np.linalg.norm(matrix_of(model, IMAGE), 2)
    assert exact <= bound.bound().lipschitz * (1 + 1e-6)
    # Zero padding and strides are what the Fourier bound gives away.
    assert bound.bound().lipschitz <= exact * (1.3 if "convolution" in name else 1 + 1e-5)


@pytest.mark.parametrize("name", OTHERS)
def test_no_search_exceeds_the_bounds_of_the_others(name):
    model = wild(sequential(OTHERS[name]()))
    limit = constant_of(model)
    found = steepest(model, IMAGE, np.random.default_rng(0))
    assert found <= limit * (1 + 1e-4)
    assert found >= 0.4 * limit


def test_estimates_approach_the_bounds_from_below():
    model = wild(
        sequential(
            layers.Conv2D(3, 3, strides=2, padding="same", use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.BatchNormalization(scale=False),
            layers.Flatten(),
            layers.Dense(4),
        )
    )
    for bound in steps_of(model):
        upper = bound.bound().lipschitz
        if bound.rule.has_norm:
            vector = keras.random.normal((1, *bound.rule.input_shape))
            for _ in range(100):
                value, vector = bound.estimate(vector)
        else:
            value = bound.rule.estimate()
        assert 0.8 * upper <= float(value) <= upper * (1 + 1e-5)


def test_normalisation_is_folded_where_nothing_else_sees_the_convolution():
    folded = wild(sequential(layers.Conv2D(3, 3), layers.BatchNormalization()))
    (bound,) = steps_of(folded)
    exact = np.linalg.norm(matrix_of(folded, IMAGE), 2)
    assert exact <= bound.bound().lipschitz <= 1.3 * exact
    image = keras.Input(IMAGE)
    before = layers.Conv2D(3, 3)(image)
    both = layers.Add()([before, layers.BatchNormalization()(before)])
    assert len(steps_of(keras.Model(image, both))) == 3
    nonlinear = sequential(layers.Conv2D(3, 3, activation="relu"), layers.BatchNormalization())
    assert [step.normalization for step in steps_of(nonlinear)] == [None] * 3


@given(seed=st.integers(0, 1000), kind=st.sampled_from(sorted(AFFINE)))
def test_float32_errors_are_within_their_bounds(seed, kind):
    """Against the operator applied in float64: large inputs, so that terms cancel."""
    model = wild(sequential(AFFINE[kind]()), seed)
    (bound,) = steps_of(model)
    random = np.random.default_rng(seed)
    impulses = np.zeros((1, *IMAGE), "float32")
    offset = keras.ops.convert_to_numpy(model(impulses)).astype("float64").ravel()
    x = random.normal(size=(8, *IMAGE)).astype("float32") * 100
    exact = x.reshape(8, -1).astype("float64") @ matrix_of(model, IMAGE) + offset
    found = keras.ops.convert_to_numpy(model(x)).reshape(8, -1)
    constants = bound.bound()
    allowed = constants.per_size * np.linalg.norm(x.reshape(8, -1), axis=1) + constants.offset
    # The operator's own entries are rounded too, by no more than the kernel's products.
    entries = 4e-7 * constants.lipschitz * np.linalg.norm(x.reshape(8, -1), axis=1)
    wrong = np.linalg.norm(found - exact, axis=1)
    assert (wrong <= allowed + entries * np.sqrt(len(offset))).all()


def test_models_inside_models_are_unfolded():
    inner = keras.Sequential([keras.Input(IMAGE), layers.Conv2D(2, 1), layers.ReLU()])
    image = keras.Input(IMAGE)
    model = keras.Model(image, layers.Flatten()(layers.Add()([image, inner(image)])))
    nodes = nodes_of(model)
    kinds = [type(node.layer).__name__ for node in nodes]
    assert kinds == ["Conv2D", "ReLU", "Add", "Flatten"]
    assert nodes[2].inputs == (0, 2)


@pytest.mark.parametrize(
    ("layer", "complaint"),
    [
        (lambda: layers.LayerNormalization(name="culprit"), "no bounds"),
        (lambda: layers.Lambda(lambda x: 2 * x, name="culprit"), "no bounds"),
        (lambda: zoo.layers.LinfDistance(3, name="culprit"), "no lipschitz bounds"),
        (lambda: layers.Activation("softmax", name="culprit"), "softmax"),
        (lambda: layers.Dense(2, activation="mish", name="culprit"), "mish"),
        (lambda: layers.DepthwiseConv2D(2, dilation_rate=2, name="culprit"), "dilation"),
        (lambda: layers.ReLU(threshold=0.5, name="culprit"), "threshold"),
        (lambda: layers.UpSampling2D(interpolation="bilinear", name="culprit"), "bilinear"),
    ],
)
def test_unsupported_layers_are_named(layer, complaint):
    model = sequential(layer())
    with pytest.raises(zoo.UnsupportedLayerError, match=f"culprit.*{complaint}") as caught:
        steps_of(model)
    assert "zoo.bounds.supported('" in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("name", ["relu", "linear", "leaky_relu"])
@pytest.mark.parametrize("kind", [layers.Activation, lambda f, name: layers.Dense(3, f, name=name)])
def test_a_function_of_ones_own_is_not_taken_for_kerass_of_that_name(kind, name):
    def steep(x):
        return 100 * x

    steep.__name__ = name
    model = sequential(kind(steep, name="culprit"))
    with pytest.raises(zoo.UnsupportedLayerError, match=rf"culprit.*{name}"):
        steps_of(model)


def test_every_use_of_a_layer_has_a_name_of_its_own():
    twice = layers.Conv2D(2, 1, name="twice")
    inner = keras.Sequential([keras.Input(IMAGE), layers.Conv2D(2, 1, name="twice")])
    model = sequential(twice, twice, inner)
    assert [bound.name for bound in steps_of(model)] == ["twice", "twice #2", "twice #3"]


def test_a_model_inside_with_two_outputs_is_named():
    inner_image = keras.Input(IMAGE)
    outputs = [layers.ReLU()(inner_image), layers.Flatten()(inner_image)]
    inner = keras.Model(inner_image, outputs, name="culprit")
    image = keras.Input(IMAGE)
    with pytest.raises(zoo.UnsupportedLayerError, match="culprit.*2 outputs"):
        nodes_of(keras.Model(image, inner(image)[0]))


def test_a_subclass_of_a_supported_layer_is_not_taken_for_it():
    class Doubled(layers.ReLU):
        def call(self, inputs):
            return 2 * super().call(inputs)

    with pytest.raises(zoo.UnsupportedLayerError, match="Doubled"):
        steps_of(sequential(Doubled()))


def test_calls_that_change_the_layer_are_refused():
    image = keras.Input(IMAGE)
    always_on = layers.Dropout(0.5, name="culprit")(image, training=True)
    with pytest.raises(zoo.UnsupportedLayerError, match=r"culprit.*training"):
        steps_of(keras.Model(image, always_on))
    with pytest.raises(zoo.UnsupportedLayerError, match="Power.*no bounds"):
        steps_of(keras.Model(image, image**2.0))
    with pytest.raises(zoo.UnsupportedLayerError, match="no constant"):
        steps_of(keras.Model(image, image * image))


@pytest.mark.parametrize(
    ("model", "error"),
    [
        (lambda: "a name", TypeError),
        (lambda: keras.Sequential([layers.Dense(2)]), ValueError),
        (lambda: keras.Model(image := keras.Input(IMAGE), [image, image]), ValueError),
        (lambda: keras.Model(image := keras.Input(IMAGE), image), ValueError),
    ],
)
def test_what_is_no_such_model_is_refused(model, error):
    with pytest.raises(error, match=r"[mM]odel"):
        nodes_of(model())


@pytest.mark.integration
@given(seed=st.integers(0, 2**32 - 1), kind=st.sampled_from(KINDS))
def test_an_image_nearby_bounds_the_sums_that_rounding_is_relative_to(seed, kind):
    """Any order of summation is wrong by at most sum_rounding · (|W| |x|), entry by entry."""
    random = np.random.default_rng(seed)
    layer = {
        "dense": [layers.Flatten(), layers.Dense(7)],
        "blocked dense": [layers.Flatten(), zoo.layers.Dense(7)],
        "nonexpansive dense": [zoo.layers.Flatten(), zoo.layers.NonexpansiveDense(7)],
        "conv": [layers.Conv2D(3, 3, 2, padding="same"), layers.Flatten()],
    }[kind]
    network = LipschitzNetwork(wild(sequential(*layer), seed % 1000))
    reach = 10.0 ** random.uniform(-3, 1)
    x = random.normal(size=(4, *IMAGE)).astype("float32")
    move = random.normal(size=x.shape)
    move *= reach / np.linalg.norm(move.reshape(4, -1), axis=1).reshape(4, 1, 1, 1)
    near = (x + move).astype("float32")
    tensors = network.tensors(keras.ops.convert_to_tensor(x))
    bounds, sums = network.bounds(), network.sums(tensors)
    lengths = np.linalg.norm(x.reshape(4, -1), axis=1)
    args = (bounds, lambda place, error: lengths + reach * 1.001, 0.0)
    sharper = network.errors(*args, sums, lambda place, error: reach * 1.001)
    assert (sharper <= network.errors(*args)).all()
    (step,) = [step for step in network.steps if step.rule.has_norm]
    kernel, bias = step.rule.weights()
    terms = np.abs(near).astype("float64")
    if "dense" in kind:
        entries = terms.reshape(4, -1) @ np.abs(kernel) + np.abs(bias)
    else:
        absolute = keras.ops.convert_to_tensor(np.abs(kernel), "float64")
        with double_precision():
            terms = keras.ops.convert_to_tensor(terms, "float64")
            entries = keras.ops.convert_to_numpy(step.rule.apply(terms, absolute)) + np.abs(bias)
    most = sum_rounding(step.rule.depth(kernel)) * np.linalg.norm(entries.reshape(4, -1), axis=1)
    assert (sharper >= most).all()
    exact = keras.ops.convert_to_numpy(network.tensors(keras.ops.convert_to_tensor(near))[-1])
    if "dense" in kind:
        exact = exact - (near.reshape(4, -1).astype("float64") @ kernel + bias)
        assert (np.linalg.norm(exact, axis=1) <= sharper).all()


@pytest.mark.parametrize(
    ("parametrization", "relative"),
    [("row_sum", False), ("almost_orthogonal", False), ("orthogonal", True)],
)
def test_an_error_of_the_kernels_factor_is_not_taken_as_relative_to_the_sums(
    parametrization, relative
):
    """It is relative to the norms of the kernel and of the inputs, which may exceed the sums."""
    layer = zoo.layers.NonexpansiveDense(7, parametrization=parametrization)
    network = LipschitzNetwork(sequential(zoo.layers.Flatten(), layer))
    sums = network.sums(network.tensors(keras.ops.ones((1, *IMAGE))))
    steps = zip(network.steps, sums, strict=True)
    (found,) = (own for step, own in steps if step.rule.has_norm)
    assert (found is not None) == relative
    assert (layer._kernel_rounding() == 0.0) == relative
