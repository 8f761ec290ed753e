"""Exported programs give the same logits, and certificates made from these are the same."""

import sys

import keras
import numpy as np
import pytest

import zoo
from tests.backend import BACKEND
from zoo.certificates import LogitCertificate
from zoo.hub import catalog
from zoo.ops.lp_distance import without_loops

pytestmark = pytest.mark.integration

DIGITS = [record.name for record in catalog.list_models(dataset="digits")]
OTHERS = [record.name for record in catalog.list_models() if record.name not in DIGITS]
MODELS = [*DIGITS, *(pytest.param(name, marks=pytest.mark.slow) for name in OTHERS)]
# Those whose certificate is a function of logits, and its method.
OF_LOGITS = {"l2nnn": "pairwise", "lmt": "pairwise", "lc-lmt": "pairwise", "linf-dist": "lipschitz"}


def images_for(model, count=9):
    random = np.random.default_rng(0)
    return random.uniform(size=(count, *model.image_shape)).astype("float32")


def run_saved_model(path, x):
    import tensorflow as tf

    program = tf.saved_model.load(path)
    return program.serve(x).numpy()


def run_onnx(path, x):
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})[0]


# What JAX compiles, a SavedModel holds as a whole, which the converter to ONNX cannot read.
FORMATS = {"tf_saved_model": ("program", run_saved_model), "onnx": ("program.onnx", run_onnx)}


@pytest.mark.parametrize("kind", FORMATS if BACKEND == "tensorflow" else ["tf_saved_model"])
@pytest.mark.parametrize("name", MODELS)
def test_round_trip(name, kind, tmp_path):
    model = zoo.load(name)
    file, run = FORMATS[kind]
    path = str(tmp_path / file)
    model.export(path, format=kind, verbose=False)
    x = images_for(model)
    expected = model.logits(x)
    logits = run(path, x)
    scale = max(1.0, np.abs(expected).max())
    np.testing.assert_allclose(logits, expected, atol=1e-5 * scale)
    # Any number of images at a time.
    np.testing.assert_allclose(run(path, x[:1]), expected[:1], atol=1e-5 * scale)
    if (method := OF_LOGITS.get(catalog.info(name).approach)) is None or "mlp" in name:
        return
    model.logit_certificate().save(tmp_path / "certificate.npz")
    stored = LogitCertificate.load(tmp_path / "certificate.npz")
    radius = stored.radius(logits, x)
    np.testing.assert_allclose(radius, model.logit_certificate().radius(expected, x), atol=2e-5)
    assert (radius > 0).any()
    certified = model.certify(x, method=method).radius
    if "lmt" in name or "l2nnn" in name:  # rounding is bounded from the image alone: by more
        assert (radius <= certified + 1e-5).all()
    else:
        np.testing.assert_allclose(radius, certified, atol=2e-5)
    # Without the images the bound of rounding is that of any image.
    assert (stored.radius(logits) <= radius).all()


@pytest.mark.skipif(BACKEND != "tensorflow", reason="only TensorFlow exports to ONNX")
def test_layers_of_equal_shape_are_exported_to_onnx(tmp_path, monkeypatch):
    """TensorFlow merges what their loops have in common, which leaves operations ONNX has not."""
    module = sys.modules[without_loops.__module__]
    monkeypatch.setattr(module, "_BLOCK_TRIPLES", 256 * 16 * 6)  # six units at once
    model = zoo.models.LinfDistNet((4, 4, 1), 3, width=16, depth=4)
    model.p = np.inf
    model.export(str(tmp_path / "program"), verbose=False)
    path = str(tmp_path / "program.onnx")
    model.export(path, format="onnx", verbose=False)
    x = images_for(model)
    np.testing.assert_allclose(run_onnx(path, x), model.logits(x), atol=1e-5)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="only TensorFlow exports to ONNX")
def test_equal_convolutions_are_exported_to_onnx(tmp_path):
    inputs = keras.Input((6, 6, 2))
    z = inputs
    for _ in range(3):
        layer = zoo.layers.LinfDistanceConv2D(2, 3, padding="same", implementation="portable")
        z = layer(z)
    network, path = keras.Model(inputs, z), str(tmp_path / "program.onnx")
    x = np.random.default_rng(0).uniform(size=(5, 6, 6, 2)).astype("float32")
    expected = keras.ops.convert_to_numpy(network(x))
    with without_loops():
        network.export(path, format="onnx", verbose=False)
    np.testing.assert_allclose(run_onnx(path, x), expected, atol=1e-5)


def test_convolutions_of_distances(tmp_path):
    """A program of any batch size, of a network that pads, strides and has groups."""
    inputs = keras.Input((9, 9, 2))
    options = {"implementation": "portable"}
    z = zoo.layers.LinfDistanceConv2D(4, 3, strides=2, padding="same", **options)(inputs)
    z = zoo.layers.LinfDistanceConv2D(6, 2, groups=2, **options)(z)
    z = zoo.layers.LinfDistance(3, **options)(keras.layers.Flatten()(z))
    network, path = keras.Model(inputs, z), str(tmp_path / "program")
    signature = [keras.InputSpec(shape=(None, 9, 9, 2), dtype="float32")]
    network.export(path, verbose=False, input_signature=signature)
    for count in (1, 20):
        x = np.random.default_rng(count).uniform(size=(count, 9, 9, 2)).astype("float32")
        expected = keras.ops.convert_to_numpy(network(x))
        np.testing.assert_allclose(run_saved_model(path, x), expected, atol=1e-5)


@pytest.mark.parametrize("kind", FORMATS if BACKEND == "tensorflow" else ["tf_saved_model"])
def test_maps_of_windows(kind, tmp_path):
    """A program of any batch size, of a network that moves pixels to channels and rolls images."""
    model = zoo.models.L2NonexpansiveNet(
        (10, 10, 2), 3, network="shifted_windows", width=0.2, parametrization="orthogonal"
    )
    file, run = FORMATS[kind]
    model.export(str(tmp_path / file), format=kind, verbose=False)
    for count in (1, 5):
        x = images_for(model, count)
        np.testing.assert_allclose(run(str(tmp_path / file), x), model.logits(x), atol=1e-5)


@pytest.mark.parametrize("name", ["lc-lmt-digits", "l2nnn-digits", "linf-dist-digits"])
def test_the_stored_certificate_never_says_more(name, digits):
    model = zoo.load(name)
    x, method = digits.images[:200], OF_LOGITS[catalog.info(name).approach]
    certified = model.certify(x, method=method).radius
    stored = model.logit_certificate().radius(model.logits(x), x)
    assert (stored <= np.nextafter(certified, np.float32(9))).all()


@pytest.mark.parametrize("name", ["crt-digits", "double-backprop-digits"])
def test_certificates_of_more_than_logits_say_so(name):
    with pytest.raises(NotImplementedError, match="takes more than logits"):
        zoo.load(name).logit_certificate()


@pytest.mark.parametrize("name", ["l2nnn-digits", "lc-lmt-digits", "linf-dist-digits"])
def test_a_model_in_half_precision_has_no_constants(name):
    """Its error is far beyond what they bound."""
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = zoo.load(name)
        with pytest.raises(ValueError, match="float16"):
            model.logit_certificate()
    finally:
        keras.config.set_dtype_policy("float32")
    with pytest.raises(ValueError, match="must be float32 or float64"):
        LogitCertificate("linf", (8, 8, 1), lipschitz=1.0).radius(np.zeros((1, 3), "float16"))


def test_the_attackers_image_may_be_larger_than_the_image():
    """A bound of error per size is of any image where the radius is in no norm of sizes."""
    black, logits = np.zeros((1, 28, 28, 1)), np.array([[20.0, 0.0]])
    alone = LogitCertificate("l2", (28, 28, 1), lipschitz=1.0, error_per_size=0.05)
    features = LogitCertificate(
        "l2", (28, 28, 1), lipschitz=1.0, kernel=np.sqrt(2) * np.eye(2), error_per_size=0.05
    )
    assert alone.radius(logits, black)[0] == pytest.approx((20 - 4 * 0.05 * 28) / 2, rel=1e-4)
    # The image is black, and the attacker's image within the radius has at most this size.
    assert features.radius(logits, black)[0] == pytest.approx((20 - 4 * 0.05 * 10) / 2, rel=1e-4)
    assert alone.radius(logits, black) <= features.radius(logits, black) + 1e-4
    assert features.radius(logits) <= features.radius(logits, black)


def test_a_program_takes_floats_alone(tmp_path):
    model = zoo.load("lc-lmt-digits")
    signature = [keras.InputSpec(shape=(None, 8, 8, 1), dtype="uint8")]
    with pytest.raises(ValueError, match="float32.*uint8"):
        model.export(str(tmp_path / "program"), input_signature=signature)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="a specification of TensorFlow")
def test_a_signature_of_tensorflow(tmp_path, digits):
    import tensorflow as tf

    model, path = zoo.load("lc-lmt-digits"), str(tmp_path / "program")
    signature = [tf.TensorSpec((None, 8, 8, 1), tf.float32)]
    model.export(path, verbose=False, input_signature=signature)
    x = digits.images[:3]
    np.testing.assert_allclose(run_saved_model(path, x), model.logits(x), atol=1e-5)
    with pytest.raises(ValueError, match="float32.*uint8"):
        model.export(path, input_signature=[tf.TensorSpec((None, 8, 8, 1), tf.uint8)])


def test_bad_files_and_shapes_are_named(tmp_path):
    certificate = LogitCertificate("linf", (4, 4, 1), lipschitz=1.0)
    with pytest.raises(ValueError, match=r"\(n, classes\)"):
        certificate.radius(np.zeros(3))
    with pytest.raises(ValueError, match=r"shape \(n, 4, 4, 1\), got \(2, 4, 4, 2\)"):
        certificate.radius(np.zeros((2, 3)), np.zeros((2, 4, 4, 2)))
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    with pytest.raises(
        ValueError, match=r"other\.npz holds no certificate.*lacks the entry 'norm'"
    ):
        LogitCertificate.load(tmp_path / "other.npz")
    np.save(tmp_path / "one.npy", np.zeros(3))
    with pytest.raises(ValueError, match=r"one\.npy holds no certificate"):
        LogitCertificate.load(tmp_path / "one.npy")
    certificate.save(tmp_path / "named-otherwise")
    assert LogitCertificate.load(tmp_path / "named-otherwise").lipschitz == 1.0
    (tmp_path / "cut.npz").write_bytes((tmp_path / "named-otherwise").read_bytes()[:200])
    with pytest.raises(ValueError, match=r"cut\.npz holds no certificate"):
        LogitCertificate.load(tmp_path / "cut.npz")
