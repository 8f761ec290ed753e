"""Exported programs give the same logits, and certificates made from these are the same."""

import numpy as np
import pytest

import zoo
from tests.backend import BACKEND
from zoo import catalog
from zoo.certificates import LogitCertificate

pytestmark = pytest.mark.skipif(BACKEND != "tensorflow", reason="programs are TensorFlow's")

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


FORMATS = {"tf_saved_model": ("program", run_saved_model), "onnx": ("program.onnx", run_onnx)}


@pytest.mark.parametrize("kind", FORMATS)
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
    model.constants().save(tmp_path / "certificate.npz")
    stored = LogitCertificate.load(tmp_path / "certificate.npz")
    radius = stored.radius(logits, x)
    np.testing.assert_allclose(radius, model.constants().radius(expected, x), atol=2e-5)
    assert (radius > 0).any()
    certified = model.certify(x, method=method).radius
    if "lmt" in name:  # rounding in a user's own network is bounded from the image alone: by more
        assert (radius <= certified + 1e-5).all()
    else:
        np.testing.assert_allclose(radius, certified, atol=2e-5)
    # Without the images the bound of rounding is that of any image.
    assert (stored.radius(logits) <= radius).all()


@pytest.mark.parametrize("name", ["lc-lmt-digits", "l2nnn-digits", "linf-dist-digits"])
def test_the_stored_certificate_never_says_more(name, digits):
    model = zoo.load(name)
    x, method = digits.images[:200], OF_LOGITS[catalog.info(name).approach]
    certified = model.certify(x, method=method).radius
    stored = model.constants().radius(model.logits(x), x)
    assert (stored <= np.nextafter(certified, np.float32(9))).all()


@pytest.mark.parametrize("name", ["crt-digits", "double-backprop-digits"])
def test_certificates_of_more_than_logits_say_so(name):
    with pytest.raises(NotImplementedError, match="takes more than logits"):
        zoo.load(name).constants()


def test_bad_files_and_shapes_are_named(tmp_path):
    certificate = LogitCertificate("linf", (4, 4, 1), lipschitz=1.0)
    with pytest.raises(ValueError, match=r"\(n, classes\)"):
        certificate.radius(np.zeros(3))
    with pytest.raises(ValueError, match=r"2 images \(4, 4, 1\)"):
        certificate.radius(np.zeros((2, 3)), np.zeros((2, 4, 4, 2)))
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    with pytest.raises(ValueError, match=r"other\.npz holds no certificate"):
        LogitCertificate.load(tmp_path / "other.npz")
