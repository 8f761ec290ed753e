"""The certificate object."""

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import zoo
from zoo.certificates import Certificate


def make(prediction, radius):
    radius = np.asarray(radius, "float32")
    return Certificate(
        np.asarray(prediction, np.int64), radius, 2 * radius, "linf", "lipschitz", 10
    )


def test_polarity():
    """True means certified, and a larger radius certifies more."""
    certificate = make([0, 0, 0], [0.0, 0.1, 0.2])
    assert certificate.certified(0.15).tolist() == [False, False, True]
    assert certificate.certified(0).tolist() == [False, True, True]


def test_a_budget_equal_to_the_radius_is_not_certified():
    assert not make([0], [0.25]).certified(0.25)[0]
    assert make([0], [np.nextafter(np.float32(0.25), np.float32(1))]).certified(0.25)[0]


def test_exact_is_within_one_percent_of_a_positive_radius():
    assert make([3], [0.5]).exact is None
    # An image of another class at exactly the radius is no contradiction.
    assert make([3], [0.5]).with_nearest([0.5]).exact[0]
    found = make([0] * 3, [0.5, 0.5, 0.0]).with_nearest([0.504, 0.51, 0.0])
    np.testing.assert_array_equal(found.exact, [True, False, False])


def test_fractions_are_rounded_up():
    below = np.float32(8 / 255)
    if float(below) > 8 / 255:
        below = np.nextafter(below, np.float32(0))
    assert not make([0], [below]).certified("8/255")[0]
    # The float .03137 is smaller than 8/255: a radius between them certifies only the float.
    assert make([0], [0.031371]).certified(0.03137)[0]
    assert not make([0], [0.031371]).certified("8/255")[0]


def test_accuracy_counts_right_and_certified():
    certificate = make([1, 1, 2, 2], [0.3, 0.1, 0.3, 0.1])
    assert certificate.accuracy([1, 1, 2, 3], 0.2) == 0.5
    assert certificate.accuracy([0, 1, 2, 2], 0.05) == 0.75


@given(
    radius=arrays("float32", 12, elements=st.floats(0, 1, width=32)),
    labels=arrays("int64", 12, elements=st.integers(0, 2)),
)
def test_the_curve_is_the_accuracy(radius, labels):
    certificate = make(np.zeros(12, int), radius)
    eps, accuracy = certificate.curve(labels)
    assert eps[0] == 0
    assert (np.diff(eps) > 0).all()
    assert (np.diff(accuracy) <= 0).all()
    for e, a in zip(eps, accuracy, strict=True):
        assert a == certificate.accuracy(labels, float(e))


def test_to_dict_is_json():
    certificate = make([3], [0.5])
    again = json.loads(json.dumps(certificate.to_dict()))
    assert again["radius"] == [0.5]
    assert again["prediction"] == [3]
    assert again["norm"] == "linf"


def test_bad_eps_is_named():
    with pytest.raises(ValueError, match="eps must not be negative"):
        make([0], [1]).certified(-1)


def test_a_broken_radius_is_named_by_its_place_in_the_set():
    certificate = make([3, 1], [0.5, 0.5])
    with pytest.raises(zoo.SoundnessError, match="from image 257 has another class"):
        certificate.with_nearest([0.6, 0.4], first=256)


def with_nearest(count):
    random = np.random.default_rng(0)
    radius = random.uniform(size=count).astype("float32")
    return make(np.arange(count) % 10, radius).with_nearest(radius + 0.1)


@pytest.mark.parametrize(
    "index",
    [slice(2, 7), slice(None, None, -1), np.arange(12) % 3 == 0, [4, 1, 1], -1, slice(0)],
    ids=str,
)
def test_a_part_has_the_rows_that_numpy_takes(index):
    whole = with_nearest(12)
    part = whole[index]
    for name in ("prediction", "radius", "margin", "nearest"):
        expected = np.atleast_1d(getattr(whole, name)[index])
        np.testing.assert_array_equal(getattr(part, name), expected)
        assert getattr(part, name).dtype == getattr(whole, name).dtype
    assert (part.norm, part.method, part.num_classes) == ("linf", "lipschitz", 10)


@given(cuts=st.lists(st.integers(0, 12), max_size=4))
def test_parts_are_the_whole_again(cuts):
    whole = with_nearest(12)
    ends = [0, *sorted(cuts), 12]
    parts = [whole[a:b] for a, b in zip(ends, ends[1:], strict=False)]
    again = Certificate.concatenate(parts)
    assert again.to_dict() == whole.to_dict()


@pytest.mark.parametrize("name", ["lc-lmt-digits", "crt-digits", "linf-dist-digits"])
def test_a_part_without_images_changes_nothing(digits, name):
    model, x = zoo.load(name), digits.images[:3]
    whole, nothing = model.certify(x), model.certify(x[:0])
    for parts in ([nothing, whole], [whole[:1], nothing, whole[1:]]):
        assert Certificate.concatenate(parts).to_dict() == whole.to_dict()
    assert len(Certificate.concatenate([nothing, nothing])) == 0


def test_parts_that_do_not_fit_are_refused():
    one = make([1], [0.1])
    for change, message in (
        ({"norm": "l2"}, "certificates of one norm can be concatenated, got 'linf' and 'l2'"),
        ({"method": "crown"}, "of one method can"),
        ({"num_classes": 3}, "of one num_classes can"),
        ({"nearest": np.ones(1, "float32")}, "some of the certificates have nearest"),
    ):
        with pytest.raises(ValueError, match=message):
            Certificate.concatenate([one, dataclasses.replace(one, **change)])
    with pytest.raises(ValueError, match="no certificate to concatenate"):
        Certificate.concatenate([])
    with pytest.raises(TypeError, match="expected certificates, got int"):
        Certificate.concatenate([one, 3])
    for index in (5, "a", None, (0, 0)):
        with pytest.raises(IndexError):
            one[index]


@pytest.mark.parametrize("certificate", [with_nearest(5), make([], []), make([3], [0.5])], ids=str)
def test_a_file_holds_every_bit(certificate, tmp_path):
    certificate.save(tmp_path / "own name")
    again = Certificate.load(tmp_path / "own name")
    assert again.to_dict() == certificate.to_dict()
    assert again.radius.dtype == certificate.radius.dtype
    assert [path.name for path in tmp_path.iterdir()] == ["own name"]


def test_files_that_are_no_certificate_are_named(tmp_path):
    path = tmp_path / "file.npz"
    with pytest.raises(FileNotFoundError, match=r"no such file: .*file\.npz"):
        Certificate.load(path)
    path.write_text("<html>")
    with pytest.raises(ValueError, match=r"file\.npz holds no certificate"):
        Certificate.load(path)
    make([0, 1], [0.1, 0.2]).save(path)
    damaged = bytearray(path.read_bytes())
    damaged[66:70] = b"\xff" * 4  # within the first compressed array
    path.write_bytes(damaged)
    with pytest.raises(ValueError, match=r"file\.npz holds no certificate"):
        Certificate.load(path)
    np.savez(path, prediction=np.zeros(1, int))
    with pytest.raises(ValueError, match="it has no 'radius"):
        Certificate.load(path)
    for change in (
        {"radius": np.array([np.inf, 1], "float32")},
        {"radius": np.array([-0.1, 1], "float32")},
        {"radius": np.array([0.1], "float32")},
        {"prediction": np.array([0, 10])},
        {"norm": "l7"},
    ):
        dataclasses.replace(make([0, 1], [0.1, 0.2]), **change).save(path)
        with pytest.raises(ValueError, match=r"file\.npz holds no certificate"):
            Certificate.load(path)


def test_the_table_does_not_round_a_radius_up():
    radius = np.float32(0.1999999)
    (line,) = str(make([1], [radius]).table([1], eps=[0.1])).splitlines()[1:]
    assert line.split() == ["0", "1", "1", "0.199999", "0.400000", "yes"]


def test_plots_return_titled_axes():
    from matplotlib.figure import Figure

    own = Figure().add_subplot()
    certificate = make([0, 1], [0.1, 0.2])
    assert certificate.plot(ax=own) is own
    assert own.get_title() == "Certified predictions (ℓ∞, lipschitz), n = 2"
    curve = own.get_lines()[0]
    assert list(curve.get_ydata()) == [100, 50, 0]
    accuracy = certificate.plot([0, 9], ax=Figure().add_subplot())
    assert list(accuracy.get_lines()[0].get_ydata()) == [50, 0]
    with pytest.raises(TypeError, match=r"plot\(\).figure.savefig\(path\) writes an image file"):
        certificate.plot(ax="curve.png")
    make([], []).plot(ax=Figure().add_subplot())


def test_a_notebook_shows_the_first_images():
    page = with_nearest(12)._repr_html_()
    assert page.count("<tr>") == 11
    assert "2 more images" in page
    assert make([], [])._repr_html_()


def test_labels_stay_with_their_images(tmp_path):
    """They are cut, joined and saved with the certificate; labels of other images are refused."""
    radius = np.array([0.3, 0.2, 0.1], "float32")
    whole = Certificate(
        np.array([1, 2, 0]), radius, radius, "linf", "interval", 3, labels=np.array([1, 0, 0])
    )
    parts = [whole[:1], whole[1:]]
    joined = Certificate.concatenate(parts)
    joined.save(tmp_path / "certificate.npz")
    for certificate in (joined, Certificate.load(tmp_path / "certificate.npz")):
        assert certificate.labels.tolist() == [1, 0, 0]
        assert certificate.accuracy(eps=0.05) == whole.accuracy([1, 0, 0], 0.05) == 2 / 3
    assert whole[[2]].accuracy(eps=0.05) == 1
    without = dataclasses.replace(whole, labels=None)
    with pytest.raises(ValueError, match="some of the certificates have labels"):
        Certificate.concatenate([whole, without])
    dataclasses.replace(whole, labels=np.array([1, 0])).save(tmp_path / "short.npz")
    with pytest.raises(ValueError, match="short.npz holds no certificate"):
        Certificate.load(tmp_path / "short.npz")
