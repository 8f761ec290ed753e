"""Rules: the registry, a user's own layer, the layers of this package, and the page that lists."""

import itertools
import pathlib
import re

import keras
import numpy as np
import pytest
from keras import layers, ops

import zoo
from tests.backend import BACKEND, errors_of_missing_kernels
from tests.bounds.test_network_bounds import margins
from tests.models.perturbations import perturbations, sizes
from zoo.attacks.gap import gap_of
from zoo.bounds.crown import relaxed
from zoo.bounds.perturbation import PerturbationSet
from zoo.bounds.rules import rule as rule_module
from zoo.bounds.rules.merge import WeightedSumRule
from zoo.certificates.network_bounds import NetworkBounds
from zoo.ops.precision import double_precision

IMAGE = (4, 4, 2)
NORMS = ("linf", "l2")
PAGE = pathlib.Path(zoo.__file__).parent.parent / "docs" / "any_network.md"


@pytest.fixture(autouse=True)
def _registry(monkeypatch):
    """Whatever a test registers is forgotten after it."""
    monkeypatch.setattr(rule_module, "_rules", dict(rule_module._rules))


def with_a_norm(name, values):
    """A test of each value with one of the norms in turn, since a rule does not know the norm."""
    pairs = zip(values, itertools.cycle(NORMS), strict=False)
    return pytest.mark.parametrize((name, "norm"), list(pairs))


def assert_holds(model, x, norm, method):
    """No perturbation within the radius is flipped; returns the certificate."""
    certificate = zoo.certify(model, x, norm=norm, method=method)
    random, tested = np.random.default_rng(0), 0
    for points in perturbations(x, certificate.radius, norm, random):
        inside = sizes(points.astype("float64") - x, norm) < certificate.radius
        logits = ops.convert_to_numpy(model(points, training=False))
        assert (logits.argmax(axis=1) == certificate.prediction)[inside].all()
        tested += inside.sum()
    assert tested > len(x)
    return certificate


def assert_bounds_hold(model, x, norm, method):
    """No perturbation has a smaller margin than its bound; returns the bounds at two budgets.

    Without the search for a radius, this takes a sixth of the time of :func:`assert_holds`, and it
    finds a bound that is too large even where no class changes.
    """
    own = ops.convert_to_numpy(model(x, training=False)).argmax(axis=1)
    random, found = np.random.default_rng(0), []
    for eps in (0.001, 0.1):
        bound = margins(model, x, own, eps, norm, method)
        for points in perturbations(x, np.full(len(x), eps), norm, random):
            assert (bound <= gap_of(ops.convert_to_numpy(model(points, training=False)), own)).all()
        found.append(bound)
    assert (found[0] > 0).any()
    return found


class Halve(layers.Layer):
    def call(self, inputs):
        return inputs / 2.0


class Square(layers.Layer):
    """An activation of a user's own."""

    def call(self, inputs):
        return ops.square(inputs)


class HalveRule(zoo.bounds.AffineRule):
    roundings = 1

    def linear(self, tensor):
        return tensor / 2.0


class SquareRule(zoo.bounds.Rule):
    def interval(self, boxes):
        lower, upper = boxes[0]
        ends = ops.square(lower), ops.square(upper)
        least = ops.where((lower <= 0) & (upper >= 0), 0.0, ops.minimum(*ends))
        most = ops.maximum(*ends)
        return least * (1 - 1e-6) - 1e-30, most * (1 + 1e-6) + 1e-30


def of_my_own():
    return keras.Sequential(
        [
            keras.Input(IMAGE),
            Halve(name="halve"),
            layers.Flatten(),
            layers.Dense(6),
            Square(name="square"),
            layers.Dense(3),
        ]
    )


def test_a_layer_of_ones_own_is_certified_after_its_rule_is_registered(small_images):
    x = np.repeat(small_images, 2, axis=-1)
    model = of_my_own()
    with pytest.raises(zoo.UnsupportedLayerError, match="Halve 'halve' has no bounds; zoo.bounds"):
        zoo.certify(model, x, norm="linf")
    zoo.bounds.register_rule(Halve)(HalveRule)
    with pytest.raises(zoo.UnsupportedLayerError, match="Square 'square' has no bounds"):
        zoo.certify(model, x, norm="linf")
    assert zoo.bounds.register_rule(Square)(SquareRule) is SquareRule
    for norm in ("linf", "l2"):
        assert assert_holds(model, x, norm, "auto").method == "interval"
    with pytest.raises(zoo.UnsupportedLayerError, match="'square' has no crown bounds"):
        zoo.certify(model, x, norm="linf", method="crown")
    assert "Square" in zoo.bounds.supported("interval")
    assert "Square" not in zoo.bounds.supported("crown")


def test_a_subclass_has_no_rule_of_its_base(small_images):
    class Louder(layers.ReLU):
        def call(self, inputs):
            return 50.0 * super().call(inputs)

    model = keras.Sequential(
        [keras.Input((4, 4, 1)), layers.Flatten(), Louder(name="louder"), layers.Dense(3)]
    )
    with pytest.raises(zoo.UnsupportedLayerError, match="Louder 'louder' has no bounds"):
        zoo.certify(model, small_images, norm="linf")


def test_what_is_no_rule_or_no_layer_is_refused():
    with pytest.raises(TypeError, match="classes of Keras layers, got 'Dense'"):
        zoo.bounds.register_rule("Dense")
    with pytest.raises(TypeError, match=r"subclass of zoo\.bounds\.Rule"):
        zoo.bounds.register_rule(layers.Dense)(object)
    known = "interval, crown, lipschitz, curvature"
    with pytest.raises(ValueError, match=f"bound must be one of {known}, got 'milp'"):
        zoo.bounds.supported("milp")


NETWORKS = {
    "max-min": lambda: [layers.Flatten(), layers.Dense(8), zoo.layers.MaxMin(), layers.Dense(8),
                        zoo.layers.MaxMin(), layers.Dense(3)],
    "max-min after a convolution": lambda: [
        layers.Conv2D(4, 3), zoo.layers.MaxMin(), zoo.layers.Flatten(), layers.Dense(3)],
    "two-sided": lambda: [zoo.layers.Flatten(), layers.Dense(8), zoo.layers.TwoSidedReLU(),
                          layers.Dense(8), zoo.layers.TwoSidedReLU(), layers.Dense(3)],
    "mean shift": lambda: [layers.Flatten(), layers.Dense(8), zoo.layers.MeanShift(),
                           layers.ReLU(), layers.Dense(3)],
    "grouped convolution": lambda: [layers.Conv2D(4, 3, groups=2, activation="relu"),
                                    layers.Flatten(), layers.Dense(3)],
    "dilated convolution": lambda: [layers.Conv2D(4, 2, dilation_rate=2, activation="elu"),
                                    layers.Flatten(), layers.Dense(3)],
    "depthwise convolution": lambda: [
        layers.DepthwiseConv2D(3, 1, "same", depth_multiplier=2, activation="softsign"),
        layers.Flatten(), layers.Dense(3)],
    "convolution along one axis": lambda: [
        layers.Reshape((8, 4)), layers.Conv1D(5, 3, 2, activation="relu"), layers.Flatten(),
        layers.Dense(3)],
    "moved and repeated": lambda: [
        layers.UpSampling2D(2), layers.Cropping2D(1), layers.Permute((3, 1, 2)), layers.Flatten(),
        layers.Dense(8), layers.ELU(), layers.Dense(3)],
    "nothing at inference": lambda: [
        layers.RandomFlip(), layers.RandomRotation(0.1), layers.RandomTranslation(0.1, 0.1),
        layers.RandomZoom(0.1), layers.RandomContrast(0.1), layers.RandomBrightness(0.1),
        layers.GaussianNoise(0.1), layers.Identity(), layers.Flatten(), layers.GaussianDropout(0.1),
        layers.AlphaDropout(0.1), layers.Dense(8, "softsign"), layers.ActivityRegularization(0.1),
        layers.Dense(3)],
    "separable convolution": lambda: [
        layers.SeparableConv2D(4, 3, depth_multiplier=2, activation="selu"), layers.Flatten(),
        layers.Dense(3)],
    "transposed convolution": lambda: [
        layers.Conv2DTranspose(3, 3, 2, "same", activation="relu6"), layers.Flatten(),
        layers.Dense(3)],
    "normalised inputs": lambda: [
        layers.Normalization(mean=[0.4, 0.5], variance=[0.04, 0.09]), layers.Flatten(),
        layers.Dense(8, "hard_sigmoid"), layers.Dense(3)],
    "rescaled channels": lambda: [
        layers.Rescaling([2.0, -3.0], [-1.0, 0.5]), layers.BatchNormalization(axis=1),
        layers.Flatten(), layers.Dense(8, "silu"), layers.Dense(3)],
    "slopes that were trained": lambda: [
        layers.Conv2D(4, 3), layers.PReLU(shared_axes=[1, 2], alpha_initializer="random_normal"),
        layers.Flatten(), layers.Dense(8), layers.PReLU(alpha_initializer="ones"),
        layers.Dense(3)],
    "steep and clipped": lambda: [
        layers.Flatten(), layers.Dense(8), layers.LeakyReLU(3.0), layers.Dense(8),
        layers.ReLU(max_value=0.3, negative_slope=0.1), layers.Dense(3)],
    "exponential units": lambda: [
        layers.Flatten(), layers.Dense(8), layers.ELU(0.5), layers.Dense(8), layers.ELU(2.0),
        layers.Dense(3)],
    "gelu": lambda: [layers.Flatten(), layers.Dense(8, "gelu"), layers.Dense(8, "hard_tanh"),
                     layers.Dense(3)],
    "nonexpansive": lambda: [
        zoo.layers.NonexpansiveConv2D(4, 3), zoo.layers.MaxMin(), zoo.layers.Flatten(),
        zoo.layers.ConvexResidual([zoo.layers.NonexpansiveDense(64), zoo.layers.MaxMin()]),
        zoo.layers.NonexpansiveDense(3)],
    "shifted windows": lambda: [
        zoo.layers.PixelUnshuffle(), zoo.layers.NonexpansiveDense(8), zoo.layers.PixelShuffle(),
        zoo.layers.MaxMin(), zoo.layers.Roll(1), zoo.layers.PixelUnshuffle(3),
        zoo.layers.NonexpansiveDense(6), zoo.layers.MaxMin(), layers.Flatten(), layers.Dense(3)],
    "equalized": lambda: [layers.Flatten(), zoo.layers.EqualizedDense(8), layers.ReLU(),
                          zoo.layers.EqualizedDense(3)],
}  # fmt: skip


@pytest.mark.integration
@with_a_norm("name", NETWORKS)
def test_layers_of_the_zoo_in_an_ordinary_model(name, norm, small_images):
    x = np.repeat(small_images, 2, axis=-1)
    model = keras.Sequential([keras.Input(IMAGE), *NETWORKS[name]()])
    for layer in model.layers:
        if isinstance(layer, zoo.layers.MeanShift):
            layer.mean.assign(np.linspace(-1, 1, 8))
    interval, crown = (assert_bounds_hold(model, x, norm, m)[1] for m in ("interval", "crown"))
    assert np.median(crown) > np.median(interval)


def test_a_sum_of_sums_counts_all_of_their_terms():
    """TensorFlow adds them in an order of its own, in which the first one is rounded each time."""
    image = keras.Input((2,))
    branches = [layers.Dense(2)(image) for _ in range(6)]
    total = branches[0]
    for branch in branches[1:-1]:
        total = layers.Add()([branch, layers.Dropout(0.5)(total)])
    alone = layers.ReLU()(total + branches[-1])
    model = keras.Model(image, layers.Dense(2)(layers.Add()([alone, image])))
    rules = zoo.bounds.rules_of(model)
    for rule in rules:
        rule.prepare()
    *inner, last = (rule for rule in rules if isinstance(rule, WeightedSumRule))
    assert last.all_roundings < 10
    assert len(inner) == 5
    assert all(rule.all_roundings >= 10 for rule in inner)


def test_doubling_again_and_again_does_not_count_too_much():
    image = keras.Input((2,))
    z = image
    for _ in range(30):
        z = z + z * 0.5
    rules = zoo.bounds.rules_of(keras.Model(image, layers.Dense(2)(z)))
    assert max(r.merged_roundings for r in rules if isinstance(r, WeightedSumRule)) < 300


@pytest.mark.skipif(BACKEND != "tensorflow", reason="only TensorFlow's XLA computes it like this")
@pytest.mark.parametrize("branches", [1, 2])
def test_a_sum_that_xla_computes_with_a_product(branches):
    """It starts the sum of 512 small products with the other term, which it rounds each time."""
    image = keras.Input((512,))
    first, *others = (layers.Dense(4, use_bias=False) for _ in range(1 + branches))
    total = layers.Add()([layer(image) for layer in (first, *others)])
    model = keras.Model(image, total)
    kernel = np.zeros((512, 4))
    kernel[0] = 1.0
    first.set_weights([kernel])
    for layer in others:
        layer.set_weights([0.99 * 2.0**-24 * (1.0 - kernel)])
    model.compile(jit_compile=True)
    x = np.ones((1, 512), "float32")
    exact = 1.0 + branches * 511 * 0.99 * 2.0**-24
    error = np.abs(model.predict(x, verbose=0) - exact).max()
    boxes = [(keras.ops.convert_to_tensor(x, "float64"),) * 2]
    with double_precision():
        for rule in zoo.bounds.rules_of(model):
            rule.prepare()
            boxes.append(rule.interval([boxes[place] for place in rule.inputs]))
        lower, upper = map(keras.ops.convert_to_numpy, boxes[-1])
    assert error > branches * 100 * 2.0**-24
    assert (lower <= exact - error).all()
    assert (upper >= exact + error).all()


def test_what_is_counted_behind_a_product_is_not_more_than_its_products():
    """The roundings of the layer before, and those of its offset alone."""

    class Mine(layers.Dense):
        pass

    class MineRule(zoo.bounds.AffineRule):
        roundings = 17

        def linear(self, tensor):
            return keras.ops.matmul(tensor, keras.ops.cast(self.layer.kernel, "float64"))

    zoo.bounds.register_rule(Mine)(MineRule)
    for before, most in (
        (layers.Conv2D(64, 3), 3 * 9 + 3),
        (layers.DepthwiseConv2D(3), 9 + 3),
        (zoo.layers.Conv2D(64, 1), 3 + 3),
        (Mine(8, use_bias=False), 17),
    ):
        model = keras.Sequential(
            [keras.Input((6, 6, 3)), before, layers.BatchNormalization(), layers.Flatten()]
        )
        rule = zoo.bounds.rules_of(model)[1]
        assert rule.merged_roundings <= 7
        assert most - 3 <= rule.offset_roundings <= most


def test_a_term_may_start_the_sums_of_products_of_all_other_terms():
    image = keras.Input((512,))
    first = layers.BatchNormalization()(layers.Dense(2, use_bias=False)(image))
    others = [layers.Dense(2)(image) for _ in range(3)]
    model = keras.Model(image, layers.Add()([first, *others]))
    *_, normalization, add = (
        rule
        for rule in zoo.bounds.rules_of(model)
        if isinstance(rule.layer, (layers.BatchNormalization, layers.Add))
    )
    assert normalization.offset_roundings >= 3 * 512
    assert add.merged_roundings >= 3 * 512


def test_products_of_a_users_kernel_are_counted_as_its_rule_reads_it():
    class Turned(layers.Layer):
        use_bias = False

        def build(self, input_shape):
            self.kernel = self.add_weight(shape=(4, input_shape[-1]))

        def call(self, inputs):
            return keras.ops.matmul(inputs, keras.ops.transpose(self.kernel))

    class TurnedRule(zoo.bounds.KernelRule):
        def weights(self):
            kernel, bias = super().weights()
            return kernel.T, bias

        def apply(self, tensor, kernel):
            return keras.ops.matmul(tensor, kernel)

        def trained(self, tensor):
            return self.layer(tensor)

    zoo.bounds.register_rule(Turned)(TurnedRule)
    model = keras.Sequential([keras.Input((512,)), Turned(), layers.Rescaling(1.0, 1.0)])
    assert zoo.bounds.rules_of(model)[1].offset_roundings >= 512


@pytest.mark.parametrize(
    "behind",
    [
        [],
        [layers.Reshape((1, 1, 4)), layers.AveragePooling2D(1), layers.Flatten()],
        [layers.Reshape((1, 1, 4)), layers.MaxPooling2D(1), layers.Flatten()],
        [layers.LeakyReLU(1.0)],
        [layers.Rescaling(1.0)],
    ],
    ids=lambda parts: "-".join(type(part).__name__ for part in parts) or "nothing",
)
@pytest.mark.parametrize("last", [layers.Rescaling, layers.Normalization])
def test_an_offset_that_xla_computes_with_a_product(behind, last):
    """It starts the sum of 512 products with the offset, which it then rounds each time."""
    unit, offset = 2.0**-24, [1.0, 1.0 + 250 * 2.0**-24, 0.0, 0.0]
    if last is layers.Rescaling:
        last = layers.Rescaling(1.0, offset)
    else:
        last = layers.Normalization(mean=[-value for value in offset], variance=[1.0] * 4)
    parts = [layer.from_config(layer.get_config()) for layer in behind]
    dense = layers.Dense(4, use_bias=False)
    model = keras.Sequential([keras.Input((1, 1, 512)), layers.Flatten(), dense, *parts, last])
    kernel = np.zeros((512, 4))
    kernel[:, 0] = 0.99 * unit
    dense.set_weights([kernel])
    rule = next(rule for rule in zoo.bounds.rules_of(model) if rule.layer is last)
    assert rule.offset_roundings >= 512
    x = np.ones((1, 1, 1, 512), "float32")
    for norm in ("linf", "l2"):
        assert zoo.certify(model, x, norm=norm).radius == 0
    assert zoo.models.LipschitzMarginNet(model).certify(x).radius == 0
    if not behind and isinstance(last, layers.Rescaling) and BACKEND == "tensorflow":
        assert model.predict(x, verbose=0).argmax() == 0  # as in exact arithmetic
        model.compile(jit_compile=True)
        assert model.predict(x, verbose=0).argmax() == 1


def test_an_offset_of_no_sum_is_rounded_as_often_as_it_says():
    model = keras.Sequential(
        [keras.Input((4,)), layers.Rescaling(2.0, 1.0), layers.Dense(3, "relu"), layers.Dense(3)]
    )
    assert [rule.merged_roundings for rule in zoo.bounds.rules_of(model)[:2]] == [0, 0]


def scaled_by(gamma):
    return layers.BatchNormalization(
        epsilon=0.0, gamma_initializer=keras.initializers.Constant(gamma)
    )


def one_product(weight):
    """A dense layer of one feature, which compilers replace by a multiplication."""
    return layers.Dense(1, use_bias=False, kernel_initializer=keras.initializers.Constant(weight))


@pytest.mark.parametrize(
    "parts",
    [
        lambda: [layers.Rescaling(factor) for factor in (1e20, 1e20, 1e-20, 1e-20)],
        lambda: [layers.Rescaling(1e-20), layers.Dropout(0.5), layers.Rescaling(1e-20, 0.1)],
        lambda: [layers.Rescaling(1e25), layers.Normalization(mean=[0.0], variance=[1e-12])],
        lambda: [layers.Rescaling(1e-25), layers.LeakyReLU(1e-20)],
        lambda: [layers.Rescaling(1e-25), layers.PReLU(keras.initializers.Constant(1e-20))],
        lambda: [layers.Rescaling(1e-25), scaled_by(1e-20)],
        lambda: [scaled_by(1e-20), layers.Rescaling(1e-25)],
        lambda: [layers.Rescaling(1e-25), one_product(1e-20)],
        lambda: [one_product(1e-20), layers.Rescaling(1e-25)],
        lambda: [layers.Rescaling(1e-36)],  # an average pooling may be before it
    ],
)
def test_constants_in_a_row_whose_product_float32_cannot_hold(parts):
    """Compilers compute it first."""
    model = keras.Sequential([keras.Input((1,)), *parts(), layers.Dense(2)])
    model.layers[-1].set_weights([np.array([[1.0, 0.0]]), np.array([0.0, 1.0])])
    with pytest.raises(zoo.UnsupportedLayerError, match="constants that, alone or together"):
        zoo.certify(model, np.zeros((1, 1)), norm="linf")
    with pytest.raises(zoo.UnsupportedLayerError, match="constants that, alone or together"):
        zoo.models.LipschitzMarginNet(model).certify(np.zeros((1, 1)))


@pytest.mark.parametrize("gamma", [1e-25, 1e-31, 1e-34, 1e-40, 0.0])
@pytest.mark.parametrize("behind", [layers.ReLU, layers.Activation, layers.BatchNormalization])
def test_a_channel_that_weight_decay_has_switched_off_is_no_mistake(gamma, behind):
    """A tiny factor changes nothing of what compilers compute with the factor 1."""
    behind = behind("tanh") if behind is layers.Activation else behind()
    parts = [layers.Conv2D(2, 3), layers.BatchNormalization(), layers.Dropout(0.5), behind]
    model = keras.Sequential([keras.Input((8, 8, 1)), *parts, layers.Flatten(), layers.Dense(2)])
    parts[1].gamma.assign([1.0, gamma])
    model.layers[-1].bias.assign([1.0, 0.0])  # a margin, even if no unit of a ReLU is active
    for method in ("interval", "crown"):
        assert_bounds_hold(model, np.full((2, 8, 8, 1), 0.5, "float32"), "linf", method)
    assert zoo.models.LipschitzMarginNet(model).certify(np.zeros((1, 8, 8, 1))).radius.shape == (1,)


def test_operators_with_constants_in_a_row_whose_product_float32_cannot_hold():
    image = keras.Input((2,))
    z = image * 1e11 * 1e11 / 1e-11
    model = keras.Model(image, layers.Dense(2)(z / 1e11 / 1e11))
    with pytest.raises(zoo.UnsupportedLayerError, match="constants that, alone or together"):
        zoo.certify(model, np.zeros((1, 2)), norm="linf")
    held = keras.Model(image, layers.Dense(2)((image * 1e11 + 1.0) / 1e11 * 1e11 / 1e11))
    assert zoo.certify(held, np.zeros((1, 2)), norm="linf").radius.shape == (1,)


def test_weights_that_leave_the_range_in_training_are_refused_like_constants():
    parts = [layers.Rescaling(1e-20), scaled_by(1.0), layers.PReLU(), layers.Dense(2)]
    model = keras.Sequential([keras.Input((2,)), *parts])
    bounds, x = NetworkBounds(model), np.zeros((1, 2))
    for weight in (parts[1].gamma, parts[2].alpha):
        before = weight.numpy()
        bounds.certified_radius(x, "linf", "interval")
        weight.assign(np.full(2, 1e-20))
        with pytest.raises(zoo.UnsupportedLayerError, match="constants that, alone or together"):
            bounds.certified_radius(x, "linf", "interval")
        weight.assign(before)


def branches(parts):
    """``parts[1](f) - f + 1e-6 parts[2](f)`` with ``f = parts[0](x)``, as two logits."""
    image = keras.Input((16,))
    shared, first, second = parts
    f = shared(image)
    difference = layers.Subtract()([layers.Dense(16, use_bias=False)(first(f)), f])
    total = layers.Add()([difference, layers.Rescaling(1e-6)(second(f))])
    model = keras.Model(image, layers.Dense(2)(total))
    _, head = (layer for layer in model.layers if isinstance(layer, layers.Dense))
    head.set_weights([np.eye(16)[:, :2] * [1.0, 0.0], np.array([0.0, 0.9998])])
    for layer in model.layers:
        if isinstance(layer, layers.Dense) and layer is not head:
            layer.set_weights([np.eye(16)])
    return model


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("method", ["interval", "crown", "exact"])
def test_a_tensor_that_is_used_twice_may_be_computed_twice(norm, method):
    """Compilers fuse a scaling into each layer that uses it, and round it differently there."""
    if method == "exact" and norm == "l2":
        pytest.skip("exact certificates are in linf")
    parts = [layers.Rescaling(30000.7, -15000.35), layers.Rescaling(1.0, 1.0)]
    model = branches([*parts, layers.Rescaling(1.0, 2.0)])
    x = np.full((1, 16), 0.5, "float32")
    radius = float(zoo.certify(model, x, norm=norm, method=method).radius[0])
    noise = np.random.default_rng(1).uniform(-1, 1, (2000, 16))
    length = np.abs(noise).max(1) if norm == "linf" else np.linalg.norm(noise, axis=1)
    near = (x + 0.98 * radius * noise / length[:, None]).astype("float32")
    logits = model.predict(near, verbose=0)
    assert radius == 0 or (logits[:, 0] > logits[:, 1]).all()
    assert radius < 3e-4  # what is proved of a tensor that is computed once


@pytest.mark.parametrize("kind", ["dense", "depthwise"])
@pytest.mark.parametrize("method", ["interval", "crown", "exact"])
def test_a_kernel_of_single_products_may_be_computed_twice_with_its_input(kind, method):
    """Compilers replace it by a multiplication, and fuse that like any other."""
    image = keras.Input((16,))
    flat = layers.Reshape((1, 1, 16))(image)
    f, e = (layers.Rescaling(30000.7, offset)(flat) for offset in (-15000.35, 5.0))
    if kind == "dense":
        g = layers.Reshape((1, 1, 16))(one_product(1.0)(layers.Reshape((16, 1))(f)))
    else:
        ones = keras.initializers.Ones()
        g = layers.DepthwiseConv2D(1, use_bias=False, depthwise_initializer=ones)(f)
    equal = layers.Dense(16, use_bias=False, kernel_initializer=keras.initializers.Identity())
    other = layers.Add()([g, layers.Rescaling(1e-9)(e)])
    logits = layers.Dense(2)
    model = keras.Model(image, logits(layers.Flatten()(layers.Subtract()([equal(g), other]))))
    logits.set_weights([np.eye(16)[:, :2] * [1.0, 0.0], np.array([2e-4, 0.0])])
    x = np.full((1, 16), 0.5, "float32")
    radius = float(zoo.certify(model, x, norm="linf", method=method).radius[0])
    noise = np.random.default_rng(1).uniform(-1, 1, (4000, 16))
    near = (x + 0.98 * radius * noise / np.abs(noise).max(1)[:, None]).astype("float32")
    found = model.predict(near, batch_size=4000, verbose=0)
    assert radius == 0 or (found[:, 0] > found[:, 1]).all()
    assert radius < 1e-4  # 4e-4 would be proved if the input were computed once


@pytest.mark.parametrize(
    "behind",
    [
        layers.Reshape((4, 4)),
        layers.ReLU(),
        layers.LeakyReLU(2.0),
        layers.PReLU(keras.initializers.Constant(3.0)),
        layers.Activation("tanh"),
        lambda f: layers.Rescaling(-5.0, 2.0)(layers.Reshape((4, 4))(f)),
        lambda f: layers.MaxPooling2D(2, 1, "same")(layers.Reshape((4, 4, 1))(f)),
        lambda f: layers.AveragePooling2D(2)(layers.Reshape((4, 4, 1))(f)),
        lambda f: layers.Concatenate()([f, layers.ReLU()(f)]),
        lambda f: layers.Subtract()([layers.Rescaling(3.0)(f), f]),
        lambda f: zoo.layers.MaxMin()(f),
        lambda f: zoo.layers.TwoSidedReLU()(f),
        layers.Dense(1),
        lambda f: one_product(3.0)(layers.Reshape((16, 1))(f)),
        lambda f: layers.DepthwiseConv2D(1, use_bias=False)(layers.Reshape((4, 4, 1))(f)),
    ],
)
def test_two_computations_differ_by_no_more_than_is_said(behind):
    """A scaling is computed with two roundings, and with one, as an FMA computes it."""
    factor, offset = 3000.7, -1500.0
    image = keras.Input((16,))
    scaled = layers.Rescaling(factor, offset)(image)
    tail = keras.Model(scaled, behind(scaled))
    model = keras.Model(image, tail(scaled))
    x = np.random.default_rng(0).uniform(0.4999, 0.5001, (64, 16)).astype("float32")
    rules = zoo.bounds.rules_of(model)
    with double_precision():
        for rule in rules:
            rule.prepare()
        center = ops.convert_to_tensor(x, "float64")
        eps = ops.zeros((len(x),), "float64")
        relaxations = relaxed(rules, PerturbationSet(center, eps, "linf", None))
        apart = ops.convert_to_numpy(relaxations.apart(len(rules)))
    factor, offset = np.float32(factor), np.float32(offset)
    twice, once = x * factor + offset, (np.float64(x) * factor + offset).astype("float32")
    first, second = (ops.convert_to_numpy(tail(part)) for part in (twice, once))
    difference = np.abs(np.float64(first) - second)
    assert apart.shape == difference.shape
    assert (difference <= apart).all()
    assert difference.max() > 0
    assert apart.max() < 500 * difference.max()


@pytest.mark.parametrize("invert", [False, True])
def test_a_variance_that_is_flushed_to_zero(invert):
    """The layer then divides by epsilon, not by the root of the variance."""
    epsilon = keras.config.epsilon()
    keras.config.set_epsilon(1e-30)
    try:
        layer = layers.Normalization(mean=[0.5], variance=[1e-39], invert=invert)
        model = keras.Sequential([keras.Input((1,)), layer, layers.Dense(2)])
        with pytest.raises(zoo.UnsupportedLayerError, match="may flush to zero"):
            zoo.certify(model, np.zeros((1, 1)), norm="linf")
    finally:
        keras.config.set_epsilon(epsilon)


def merged(merge):
    """A network whose two branches meet in a layer."""
    image = keras.Input(IMAGE)
    first = layers.Conv2D(4, 3, activation="relu")(image)
    second = layers.Conv2D(4, 3, activation="leaky_relu")(image)
    return keras.Model(image, layers.Dense(3)(layers.Flatten()(merge([first, second]))))


@pytest.mark.integration
@pytest.mark.parametrize(("norm", "activation"), [("linf", "relu"), ("l2", "relu"), ("l2", "tanh")])
@pytest.mark.parametrize("widths", [(1, 5), (2, 3, 1), (5, 3)], ids=str)
def test_branches_of_unequal_widths_that_are_joined(norm, activation, widths):
    random = np.random.default_rng(sum(widths))
    image = keras.Input((3, 1, 1))
    flat = layers.Flatten()(image)
    branches = [layers.Dense(width, activation)(flat) for width in widths]
    joined = layers.ReLU()(layers.Concatenate()(branches))
    model = keras.Model(image, layers.Dense(3)(joined))
    for weight in model.weights:
        weight.assign(random.normal(size=weight.shape))
    x = random.uniform(size=(4, 3, 1, 1)).astype("float32")
    for method in ("interval", "crown-interval", "crown"):
        assert_bounds_hold(model, x, norm, method)
    if norm == "linf" and activation == "relu":
        assert_holds(model, x, norm, "exact")


@pytest.mark.integration
def test_a_join_of_unequal_widths_is_not_certified_beyond_a_flip():
    """The class changes at a distance of about 0.2, where the second branch becomes positive."""
    image = keras.Input((2,))
    first, second = layers.Dense(1, "tanh"), layers.Dense(5, "tanh")
    activated = layers.ReLU()(layers.Concatenate()([first(image), second(image)]))
    head = layers.Dense(2)
    model = keras.Model(image, head(activated))
    first.set_weights([np.zeros((2, 1)), np.ones(1)])
    kernel = np.zeros((2, 5))
    kernel[0, 0] = 1.0
    second.set_weights([kernel, np.array([-0.5, -2.0, -2.0, -2.0, -2.0])])
    kernel = np.zeros((6, 2))
    kernel[1, 1] = -10.0
    head.set_weights([kernel, np.array([0.0, 1.0])])
    x, flipped = np.array([[0.4, 0.5]], "float32"), np.array([[0.65, 0.5]], "float32")
    logits = ops.convert_to_numpy(model(np.concatenate([x, flipped])))
    assert logits.argmax(axis=1).tolist() == [1, 0]
    for norm in ("linf", "l2"):
        for method in ("interval", "crown-interval", "crown"):
            inside, beyond = (margins(model, x, [1], eps, norm, method)[0] for eps in (0.1, 0.25))
            assert beyond <= 0 < inside


@pytest.mark.integration
def test_feature_maps_of_unequal_widths_that_are_joined():
    image = keras.Input(IMAGE)
    branches = [layers.Conv2D(1, 1)(image), layers.Conv2D(5, 3, padding="same")(image)]
    z = layers.ReLU()(layers.Concatenate()([*branches, image]))
    model = keras.Model(image, layers.Dense(3)(layers.Flatten()(z)))
    x = np.random.default_rng(0).uniform(size=(2, *IMAGE)).astype("float32")
    shapes = [rule.output_shape for rule in zoo.bounds.rules_of(model)]
    assert (*IMAGE[:2], 6 + IMAGE[2]) in shapes
    for method in ("interval", "crown"):
        assert_bounds_hold(model, x, "linf", method)


@pytest.mark.parametrize("inner", [(4, 1), (4,), (2, 2)], ids=str)
def test_a_model_inside_the_model_must_see_the_shape_that_it_was_made_for(inner):
    """Keras adds or drops an axis of one. A join along the last axis then orders entries anew."""
    image = keras.Input(inner)
    joined = layers.Flatten()(layers.Concatenate()([image, layers.ReLU()(image)]))
    model = keras.Model(image, joined, name="inside")
    outer = keras.Input({(4, 1): (4,), (4,): (4, 1), (2, 2): (2, 2, 1)}[inner])
    network = keras.Model(outer, layers.Dense(2)(model(outer)))
    for bound in ("interval", "crown", "lipschitz"):
        with pytest.raises(zoo.UnsupportedLayerError, match="'inside'.*shapes must be equal"):
            zoo.bounds.rules_of(network, bound)


@pytest.mark.parametrize("bound", ["interval", "crown", "lipschitz"])
@pytest.mark.parametrize("kind", ["PReLU", "Rescaling", "Normalization"])
def test_a_layer_that_spreads_its_input_is_refused(kind, bound):
    """Its output is larger than Keras states, and the next layer would be bounded for less."""
    image = keras.Input((4, 1))
    small = layers.Conv1D(1, 4)(image)
    ones = np.ones((4, 1))
    layer = {
        "PReLU": lambda: layers.PReLU(),
        "Rescaling": lambda: layers.Rescaling(ones),
        "Normalization": lambda: layers.Normalization(axis=(1, 2), mean=ones, variance=ones),
    }[kind]()
    branches = [layer(image), layer(small)]
    ends = [layers.Flatten()(layers.Conv1D(1, 1)(branch)) for branch in branches]
    model = keras.Model(image, layers.Dense(2)(layers.Concatenate()(ends)))
    message = rf"{kind}.* makes \(4, 1\) of its input, where Keras states \(1, 1\)"
    with pytest.raises(zoo.UnsupportedLayerError, match=message):
        zoo.bounds.rules_of(model, bound)


@pytest.mark.integration
@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow alone does this")
def test_a_convolution_that_tensorflow_computes_wrongly_is_refused():
    def network(channels, strides, kind=layers.Conv2D, size=(2, 3), **settings):
        conv = kind(4, size, strides=strides, padding="same", **settings)
        return keras.Sequential(
            [keras.Input((3, 3, channels)), conv, layers.Flatten(), layers.Dense(2)]
        )

    for refused in (
        network(1, (1, 3)),
        network(2, (1, 3), groups=2),
        network(1, (1, 3), zoo.layers.Conv2D),
        # A kernel of this size is summed up in blocks of one channel.
        network(2, (1, 3), zoo.layers.Conv2D, size=9),
        network(1, (1, 3), zoo.layers.NonexpansiveConv2D),
    ):
        with pytest.raises(zoo.UnsupportedLayerError, match="computes wrongly on a CPU"):
            zoo.bounds.rules_of(refused)
    assert_holds(network(4, (1, 3), groups=2), np.full((1, 3, 3, 4), 0.5), "linf", "interval")
    for channels, strides in ((2, (1, 3)), (1, (3, 3)), (1, (1, 2)), (1, (3, 1))):
        x = np.random.default_rng(0).uniform(size=(2, 3, 3, channels)).astype("float32")
        assert_holds(network(channels, strides), x, "linf", "interval")


def test_logits_of_unequal_branches_that_are_joined():
    image = keras.Input((2, 2, 1))
    flat = layers.Flatten()(image)
    logits = layers.Concatenate()([layers.Dense(1)(flat), layers.Dense(3)(flat)])
    model = zoo.models.LipschitzMarginNet(keras.Model(image, logits))
    assert model.certify(np.full((1, 2, 2, 1), 0.5)).per_class.shape == (1, 4)


MERGES = [
    layers.Subtract,
    layers.Average,
    lambda: lambda branches: branches[0] + 2.0 * branches[1],
    lambda: lambda branches: -(branches[0] / np.array([2, -4, 0.5, 1], "float32") - branches[1]),
    lambda: lambda branches: 0.1 - branches[0] + (branches[1] + np.ones((2, 2, 4), "float32")),
    layers.Concatenate,
    lambda: layers.Concatenate(axis=1),
    lambda: layers.Concatenate(axis=-2),
]


@pytest.mark.integration
@with_a_norm("merge", MERGES)
def test_branches_that_meet(merge, norm, small_images):
    x = np.repeat(small_images, 2, axis=-1)
    model = merged(merge())
    methods = ("interval", "crown-interval", "crown")
    found = [assert_bounds_hold(model, x, norm, method)[1] for method in methods]
    assert (found[1] >= found[0] - 1e-4).all()
    assert np.median(found[2]) > np.median(found[0])


@pytest.mark.integration
@pytest.mark.parametrize(
    "hidden",
    [
        lambda: layers.Conv2D(4, 3, groups=2),
        lambda: layers.Conv2D(4, 2, dilation_rate=2),
        lambda: layers.DepthwiseConv2D(3, 1, "same", depth_multiplier=2),
        lambda: layers.UpSampling2D((1, 3)),
        lambda: layers.Cropping2D(((1, 0), (0, 2))),
        lambda: layers.Permute((2, 3, 1)),
        lambda: layers.SeparableConv2D(4, 2, depth_multiplier=2),
        lambda: layers.Conv2DTranspose(3, 3, 2),
        lambda: layers.Normalization(mean=[0.4, 0.5], variance=[0.04, 0.09]),
        lambda: layers.Rescaling([2.0, -3.0], [-1.0, 0.5]),
        lambda: layers.AveragePooling2D(2, data_format="channels_first"),
        lambda: layers.Flatten(data_format="channels_first"),
        lambda: zoo.layers.EqualizedDense(3),
        lambda: zoo.layers.PixelUnshuffle(3),
        lambda: zoo.layers.PixelShuffle(1),
        lambda: zoo.layers.Roll(1),
        lambda: zoo.layers.NonexpansiveDense(3),
    ],
)
def test_bounds_of_affine_networks_are_exact(hidden, small_images):
    x = np.repeat(small_images, 2, axis=-1)
    model = keras.Sequential([keras.Input(IMAGE), hidden(), layers.Flatten(), layers.Dense(2)])
    basis = np.eye(32).reshape(32, *IMAGE).astype("float32")
    at_zero = ops.convert_to_numpy(model(np.zeros((1, *IMAGE))))
    slope = ops.convert_to_numpy(model(basis)) - at_zero
    logits = ops.convert_to_numpy(model(x)).astype("float64")
    difference = slope[:, 0].astype("float64") - slope[:, 1]
    gap, own = np.abs(logits[:, 0] - logits[:, 1]), logits.argmax(axis=1)
    for norm, dual in (("linf", np.abs(difference).sum()), ("l2", np.linalg.norm(difference))):
        found = margins(model, x, own, 0.1, norm, "crown", limits=None)
        np.testing.assert_allclose(found, gap - 0.1 * dual, atol=3e-4 * max(1.0, dual))


@pytest.mark.parametrize("merge", [layers.Add, layers.Subtract, layers.Average])
def test_shapes_that_would_be_broadcast_are_refused(merge):
    image = keras.Input(IMAGE)
    one = layers.Conv2D(1, 1)(image)
    model = keras.Model(
        image, layers.Dense(3)(layers.Flatten()(merge(name="culprit")([image, one])))
    )
    with pytest.raises(zoo.UnsupportedLayerError, match="culprit.*shapes must be equal"):
        zoo.certify(model, np.zeros((1, *IMAGE)), norm="linf")


def test_max_min_is_the_tightest_relaxation_where_signs_are_known():
    """Where one entry of each pair is always the larger one, the layer is linear: exact."""
    hidden = layers.Dense(4)
    model = keras.Sequential(
        [keras.Input((3,)), hidden, zoo.layers.MaxMin(), layers.Dense(2, use_bias=False)]
    )
    random = np.random.default_rng(1)
    kernel = random.normal(size=(3, 4)).astype("float32")
    hidden.set_weights([kernel, np.array([9, 9, -9, -9], "float32")])
    head = random.normal(size=(4, 2)).astype("float32")
    model.layers[-1].set_weights([head])
    x = np.full((1, 3), 0.5, "float32")
    slope = (kernel @ head).astype("float64")
    logits = ops.convert_to_numpy(model(x))[0].astype("float64")
    own = logits.argmax()
    exact = abs(logits[0] - logits[1]) / np.abs(slope[:, own] - slope[:, 1 - own]).sum()
    found = zoo.certify(model, x, norm="linf", method="crown", valid_range=None).radius[0]
    assert 0.98 * exact < found <= exact


def test_distances_in_an_ordinary_model(small_images):
    shift = zoo.layers.MeanShift()
    model = keras.Sequential(
        [
            keras.Input((4, 4, 1)),
            layers.Flatten(),
            zoo.layers.LinfDistance(12),
            shift,
            zoo.layers.LinfDistance(3, use_bias=True),
            layers.Rescaling(-1.0),
        ]
    )
    shift.mean.assign(np.linspace(-1, 1, 12))
    certificate = assert_holds(model, small_images, "linf", "auto")
    assert certificate.method == "interval"
    # Logits are 1-Lipschitz in the ℓ∞ norm.
    assert (certificate.radius > certificate.margin / 2 - 1e-3).all()
    with pytest.raises(zoo.UnsupportedLayerError, match="LinfDistance .* has no crown bounds"):
        zoo.certify(model, small_images, norm="linf", method="crown")


@with_a_norm(
    "hidden",
    [
        lambda: [zoo.layers.NormPooling2D(2)],
        lambda: [zoo.layers.NormPooling2D(3, 1, "same")],
        lambda: [zoo.layers.LinfDistanceConv2D(4, 3, use_bias=True)],
        lambda: [layers.Permute((3, 1, 2)), zoo.layers.LinfDistance(3), layers.Permute((2, 3, 1))],
    ],
)
def test_layers_with_interval_bounds_alone(hidden, norm, small_images):
    x = np.repeat(small_images, 2, axis=-1)
    model = keras.Sequential([keras.Input(IMAGE), *hidden(), layers.Flatten(), layers.Dense(3)])
    assert assert_holds(model, x, norm, "auto").method == "interval"


@pytest.mark.integration
@pytest.mark.parametrize(
    "hidden",
    [
        lambda: layers.Conv2D(3, 2, padding="same", data_format="channels_first"),
        lambda: layers.SeparableConv2D(4, 2, data_format="channels_first"),
        lambda: layers.MaxPooling2D(2, 1, "same", data_format="channels_first"),
        lambda: layers.GlobalMaxPooling2D(data_format="channels_first"),
        lambda: layers.GlobalAveragePooling2D(data_format="channels_first"),
        lambda: layers.Cropping2D(1, data_format="channels_first"),
        lambda: layers.UpSampling2D(2, data_format="channels_first"),
    ],
)
def test_channels_may_come_first(hidden, small_images):
    """The rules compute what the layer computes, and radii hold."""
    x = np.repeat(small_images, 2, axis=-1).transpose(0, 3, 1, 2)
    layer = hidden()
    model = keras.Sequential([keras.Input(x.shape[1:]), layer, layers.Flatten(), layers.Dense(3)])
    for weight in layer.weights:
        weight.assign(np.random.default_rng(0).normal(size=weight.shape))
    try:
        expected = ops.convert_to_numpy(model(x))
    except errors_of_missing_kernels() as error:
        pytest.skip(f"the backend cannot compute the layer: {type(error).__name__}")
    tensors = [ops.convert_to_tensor(x)]
    for rule in zoo.bounds.rules_of(model):
        tensors.append(rule.compute([tensors[place] for place in rule.inputs]))
    np.testing.assert_allclose(ops.convert_to_numpy(tensors[-1]), expected, atol=1e-5)
    for method in ("interval", "crown"):
        assert_bounds_hold(model, x, "linf", method)


@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("kind", [layers.Conv2D, layers.SeparableConv2D])
def test_a_bias_that_keras_adds_to_the_columns_is_refused(kind, use_bias, small_images):
    """On TensorFlow, Keras takes the bias of four filters for one of the four columns."""
    x = np.repeat(small_images, 2, axis=-1).transpose(0, 3, 1, 2)
    layer = kind(4, 1, data_format="channels_first", use_bias=use_bias)
    model = keras.Sequential([keras.Input(x.shape[1:]), layer, layers.Flatten(), layers.Dense(3)])
    try:
        model(x)
    except errors_of_missing_kernels() as error:
        pytest.skip(f"the backend cannot compute the layer: {type(error).__name__}")
    if use_bias:
        layer.bias.assign(np.arange(4.0))
        by_column = ops.convert_to_numpy(layer(np.zeros((1, 2, 4, 4), "float32")))[0, 0, 0]
        if (by_column == np.arange(4.0)).all():
            with pytest.raises(zoo.UnsupportedLayerError, match="as many filters"):
                zoo.certify(model, x, norm="linf")
            return
    assert_holds(model, x, "linf", "crown")


def test_operators_that_have_no_bound_are_named(small_images):
    image = keras.Input((4, 4, 1))
    for culprit, complaint in (
        (image * image, "Multiply.*no constant"),
        (1.0 / (image + 1.0), "TrueDivide.*no constant"),
        (image / 0.0, "TrueDivide.*zero"),
        (image * 1e39, "Multiply.*outside of"),
        (image**2, "Power.*no bounds"),
        # TensorFlow keeps the float64 of such a constant, JAX does not.
        (image + np.ones((4, 1)), "Add.*(float32 and of one shape|shape .4, 1.,)"),
        (image[:, 1:], "GetItem.*operation"),
    ):
        model = keras.Model(image, layers.Dense(3)(layers.Flatten()(culprit)))
        with pytest.raises(zoo.UnsupportedLayerError, match=complaint):
            zoo.certify(model, small_images, norm="linf")


def test_the_page_lists_what_the_registry_has():
    text = PAGE.read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([\w.]+)` \| (.*?) \| (.*?) \|$", text, flags=re.MULTILINE)
    assert rows == registered_rows()


def registered_rows():
    """``(layer, bounds, limits)`` of every layer type that has a rule."""
    titles = {"crown": "CROWN", "lipschitz": "Lipschitz"}
    supported = {bound: zoo.bounds.supported(bound) for bound in rule_module.BOUNDS}
    rows = []
    for name in sorted({name for found in supported.values() for name in found}):
        limits = {bound: found[name] for bound, found in supported.items() if name in found}
        texts = list(dict.fromkeys(limits.values()))
        text = texts[0]
        if len(texts) > 1:
            text += f"; curvature: {limits['curvature']}"
        bounds = ", ".join(titles.get(bound, bound) for bound in limits)
        rows.append((name, bounds, text or "–"))
    return rows


def assert_model_holds(model, x):
    """No perturbation within a model's own L2 radius is flipped."""
    certificate, tested = model.certify(x), 0
    for points in perturbations(x, certificate.radius, "l2", np.random.default_rng(0)):
        inside = sizes(points.astype("float64") - x, "l2") < certificate.radius
        assert (model.logits(points).argmax(axis=1) == certificate.prediction)[inside].all()
        tested += inside.sum()
    assert tested > len(x)
    return certificate


@pytest.mark.integration
def test_models_accept_a_layer_of_ones_own(small_images):
    """An affine rule gives bounds for every pass, so both models around a network accept it."""
    zoo.bounds.register_rule(Halve)(HalveRule)
    network = keras.Sequential(
        [keras.Input((4, 4, 1)), Halve(), layers.Flatten(), layers.Dense(6, "tanh"),
         layers.Dense(3)]
    )  # fmt: skip
    lipschitz = zoo.models.LipschitzMarginNet(network)
    assert lipschitz.lipschitz()["halve"] == pytest.approx(0.5, rel=1e-6)
    curvature = zoo.models.CurvatureNet(network)
    for model in (lipschitz, curvature):
        assert_model_holds(model, small_images)
        model.compile("adam")
        history = model.fit(small_images, np.arange(20) % 3, epochs=1, verbose=0)
        assert np.isfinite(history.history["loss"]).all()
        assert_model_holds(model, small_images)


@pytest.mark.integration
@pytest.mark.parametrize(
    "hidden",
    [
        lambda: [zoo.layers.NonexpansiveConv2D(4, 3), zoo.layers.MaxMin(), zoo.layers.Flatten(),
                 zoo.layers.NonexpansiveDense(8), zoo.layers.TwoSidedReLU()],
        lambda: [zoo.layers.NonexpansiveConv2D(4, 2, parametrization="almost_orthogonal"),
                 zoo.layers.NormPooling2D(2), layers.Flatten(),
                 zoo.layers.ConvexResidual([zoo.layers.NonexpansiveDense(16)])],
        lambda: [zoo.layers.PixelUnshuffle(3), zoo.layers.NonexpansiveDense(4), zoo.layers.MaxMin(),
                 zoo.layers.PixelShuffle(), zoo.layers.Roll(-1), layers.Flatten()],
        lambda: [layers.Conv2DTranspose(3, 3, 2), layers.BatchNormalization(), layers.PReLU(),
                 layers.SeparableConv2D(4, 3), layers.GlobalAveragePooling2D()],
        lambda: [layers.DepthwiseConv2D(3, depth_multiplier=4), layers.BatchNormalization(),
                 layers.Activation("silu"), layers.Conv2D(4, 2, groups=2), layers.Flatten()],
    ],
)  # fmt: skip
def test_new_layers_in_a_lipschitz_margin_network(hidden, small_images):
    network = keras.Sequential([keras.Input((4, 4, 1)), *hidden(), layers.Dense(3)])
    model = zoo.models.LipschitzMarginNet(network)
    for trained in (False, True):
        if trained:
            model.compile("adam")
            model.fit(small_images, np.arange(20) % 3, epochs=1, verbose=0)
        assert_model_holds(model, small_images)
        upper = np.sqrt(2) * model.network_lipschitz()
        for _ in range(5):
            estimate = model.estimate()
        assert 0 < float(estimate.value) <= upper * (1 + 1e-5)


@pytest.mark.integration
@pytest.mark.parametrize("method", ["interval", "crown-interval", "crown"])
@pytest.mark.parametrize(
    "operator",
    [lambda x: x + 0.5, lambda x: 1.5 - x, lambda x: x - np.float32(5), lambda x: 2.0 * x - 0.7],
)
def test_numbers_that_are_added_count_in_linear_relaxation_too(operator, method, small_images):
    image = keras.Input((4, 4, 1))
    hidden = layers.Dense(8, "relu")(operator(layers.Flatten()(image)))
    model = keras.Model(image, layers.Dense(3)(operator(hidden)))
    assert_bounds_hold(model, small_images, "linf", method)


@pytest.mark.integration
@pytest.mark.parametrize("method", ["interval", "crown"])
@pytest.mark.parametrize(
    "shape", [(1, 1, 2), (1, 1, 1, 2), (4, 4, 1), (4, 1, 2), (1,), (1, 1, 1), (4, 4, 2)]
)
def test_constants_are_spread_as_keras_spreads_them(shape, method, small_images):
    constant = np.random.default_rng(0).uniform(0.5, 2.0, shape).astype("float32")
    image = keras.Input((4, 4, 1))
    hidden = layers.Conv2D(2, 3, padding="same")(image)
    hidden = layers.ReLU()((hidden + constant) / constant)
    model = keras.Model(image, layers.Dense(3)(layers.Flatten()(hidden)))
    assert_bounds_hold(model, small_images, "linf", method)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (keras.activations.relu, "ops.ReLU .* has no bounds; write it as a layer"),
        (ops.tanh, "ops.Tanh .* has no bounds; write it as a layer"),
        (lambda x: ops.maximum(x, 0.0), "ops.Maximum .* has no bounds"),
        (lambda x: ops.reshape(x, (-1, 2, 4)), "ops.Reshape .* of one shape; write it as a layer"),
    ],
)
def test_functions_without_bounds_are_named(function, message, small_images):
    image = keras.Input((4, 4, 1))
    hidden = layers.Flatten()(function(layers.Dense(8)(layers.Flatten()(image))))
    model = keras.Model(image, layers.Dense(3)(hidden))
    with pytest.raises(zoo.UnsupportedLayerError, match=message):
        zoo.certify(model, small_images, norm="linf")


def test_an_operation_with_a_call_of_its_own_is_refused(small_images):
    """Its bounds would be those of the operation whose class it has."""
    image = keras.Input((4, 4, 1))
    model = keras.Model(image, layers.Dense(3)(layers.Flatten()(image * 2.0)))
    (operation,) = (one for one in model.operations if type(one).__name__ == "Multiply")
    wrapped = zoo.models.LipschitzMarginNet(model)
    wrapped.certify(small_images)
    operation.call = lambda a, b: a * b * 50.0
    with pytest.raises(zoo.UnsupportedLayerError, match=r"call\(\) of Multiply"):
        zoo.certify(model, small_images, norm="linf")
    with pytest.raises(zoo.UnsupportedLayerError, match=r"call\(\) of Multiply"):
        wrapped.certify(small_images)


def test_constants_that_keras_would_not_broadcast_are_refused(small_images):
    image = keras.Input((4, 4, 1))
    for constant in (np.ones((1, 4, 1), "float32"), np.ones((4, 1, 1), "float32")):
        model = keras.Model(image, layers.Dense(3)(layers.Flatten()(image + constant)))
        with pytest.raises(zoo.UnsupportedLayerError, match="constant of shape"):
            zoo.certify(model, small_images, norm="linf")
    variable = keras.Variable(2.0)
    model = keras.Model(image, layers.Dense(3)(layers.Flatten()(image * variable)))
    with pytest.raises(zoo.UnsupportedLayerError, match="variable as an operand"):
        zoo.certify(model, small_images, norm="linf")


def test_a_constant_changed_in_place_is_certified_as_it_is(small_images):
    constant = np.ones(3, "float32")
    image = keras.Input((4, 4, 1))
    logits = layers.Dense(3)(layers.Flatten()(image))
    model = zoo.models.LipschitzMarginNet(keras.Model(image, logits * constant))
    before = model.certify(small_images).radius
    constant *= 0.5
    constant[0] = 8.0
    after = assert_model_holds(model, small_images)
    assert (after.radius != before).any()


def test_the_step_from_a_shortcut_is_rounded_relative_to_both_paths():
    """With large biases that cancel, what float32 computes is far from the exact value."""
    branch = zoo.layers.NonexpansiveDense(2)
    block = zoo.layers.ConvexResidual([branch])
    network = keras.Sequential([keras.Input((1, 1, 2)), layers.Flatten(), block, layers.Dense(2)])
    branch.bias.assign([1e8, 1e8])
    block.mixing_logit.assign(-40.0)
    model = zoo.models.LipschitzMarginNet(network)
    radius = model.certify(np.array([[[[0.75, 0.25]]]], "float32")).radius
    assert radius[0] == 0


def test_squares_that_overflow_prove_nothing():
    parts = [layers.Rescaling(1e20), zoo.layers.NormPooling2D(2), layers.Flatten()]
    network = keras.Sequential([keras.Input((2, 2, 1)), *parts, layers.Dense(2)])
    certificate = zoo.models.LipschitzMarginNet(network).certify(np.full((1, 2, 2, 1), 0.01))
    assert certificate.radius[0] == 0


@pytest.mark.parametrize(
    ("layer", "complaint"),
    [
        (lambda: layers.ELU(1e39), "alpha 1e"),
        (lambda: layers.Normalization(mean=-3.3e38, variance=1.0), "float32 cannot hold"),
        (lambda: zoo.layers.EqualizedDense(3, gain=1e-42), "factor"),
        (lambda: layers.Rescaling(np.ones((2, 1, 1, 1, 1))), "scale of shape"),
    ],
)
def test_settings_that_float32_or_a_rule_cannot_hold_are_refused(layer, complaint, small_images):
    model = keras.Sequential([keras.Input((4, 4, 1)), layer()])
    with pytest.raises(zoo.UnsupportedLayerError, match=complaint):
        zoo.bounds.rules_of(model)


def test_a_layer_is_not_bounded_at_more_pixels_than_it_was_built_for():
    layer = zoo.layers.NonexpansiveDense(2)
    image = keras.Input((4, 4, 2))
    model = keras.Model(image, layer(layers.UpSampling2D(2)(layer(image))))
    with pytest.raises(zoo.UnsupportedLayerError, match=r"built for \(4, 4, 2\).*\(8, 8, 2\)"):
        zoo.bounds.rules_of(model)


def test_batches_are_not_joined_by_a_negative_axis():
    image = keras.Input((4,))
    joined = layers.Concatenate(axis=-2)([layers.Dense(3)(image), layers.Dense(3)(image)])
    with pytest.raises(zoo.UnsupportedLayerError, match="joins batches"):
        zoo.bounds.rules_of(keras.Model(image, joined))


def test_an_effective_kernel_that_overflows_is_named():
    layer = zoo.layers.NonexpansiveDense(3, name="second")
    model = keras.Sequential([keras.Input((4, 4, 1)), layers.Flatten(), layer])
    kernel = np.full(layer.kernel.shape, 1e38, "float32")
    layer.kernel.assign(kernel)
    with pytest.raises(ValueError, match="effective kernel of 'second' has NaN or infinite"):
        zoo.models.LipschitzMarginNet(model).certify(np.zeros((1, 4, 4, 1)))


def test_a_certificate_that_failed_once_is_computed_anew(small_images):
    """NaN weights raise, and the weights before them are certified as they were."""
    parts = [layers.Flatten(), layers.Dense(5, "tanh"), layers.Dense(3)]
    model = zoo.models.CurvatureNet(keras.Sequential([keras.Input((4, 4, 1)), *parts]))
    expected, weights = model.certify(small_images).radius, model.get_weights()
    broken = [np.full_like(weight, np.nan) for weight in weights]
    model.set_weights(broken)
    with pytest.raises(ValueError, match="NaN or infinite weights"):
        model.certify(small_images)
    model.set_weights(weights)
    np.testing.assert_array_equal(model.certify(small_images).radius, expected)
