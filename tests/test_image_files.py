"""Image sets in files of one's own."""

import pathlib

import numpy as np
import pytest
from PIL import Image

import zoo

SIDE = 6


def pixels(seed, channels=3):
    image = np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE, channels), np.uint8)
    return image if channels > 1 else image[..., 0]


def write(path, image, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path, **options)


def test_one_image(tmp_path):
    write(tmp_path / "a.PNG", pixels(0))
    found = zoo.data.load(tmp_path / "a.PNG")
    np.testing.assert_array_equal(found.images, pixels(0)[None])
    assert (found.labels, found.num_classes, found.files) == (None, 0, ("a.PNG",))
    with pytest.raises(ValueError, match="has no labels"):
        found.required_labels()


@pytest.mark.parametrize("form", [{}, {"image_shape": (3, 3, 1), "resize": True}])
def test_eight_and_sixteen_bits_in_one_folder(tmp_path, form):
    write(tmp_path / "a.png", np.full((SIDE, SIDE), 51, np.uint8))
    write(tmp_path / "b.png", np.full((SIDE, SIDE), 13107, np.uint16))
    images = zoo.data.load(tmp_path, **form).images
    assert images.dtype == np.float32
    np.testing.assert_allclose(images, 0.2, rtol=1e-6)


def test_a_folder_of_images(tmp_path):
    for i in range(3):
        write(tmp_path / f"{i}.png", pixels(i))
    (tmp_path / "notes.txt").touch()
    write(tmp_path / ".hidden.png", pixels(9))
    found = zoo.data.load(str(tmp_path))
    np.testing.assert_array_equal(found.images, [pixels(i) for i in range(3)])
    assert found.take(1, 3).files == ("1.png", "2.png")
    assert repr(found) == f"ImageSet({tmp_path.name!r}, 3 images 6 × 6 × 3 uint8, no labels)"


def test_names_of_classes_are_sorted_as_keras_does(tmp_path):
    for i, name in enumerate(["cat", "ant", "dog", "ant"]):
        write(tmp_path / name / f"{i}.png", pixels(i))
    found = zoo.data.load(tmp_path)
    assert found.class_names == ("ant", "cat", "dog")
    assert found.labels.tolist() == [0, 0, 1, 2]
    assert found.files == ("ant/1.png", "ant/3.png", "cat/0.png", "dog/2.png")
    np.testing.assert_array_equal(found.images[2], pixels(0))
    keras = pytest.importorskip("keras")
    pytest.importorskip("tensorflow")
    theirs = keras.utils.image_dataset_from_directory(
        tmp_path, image_size=(SIDE, SIDE), shuffle=False, batch_size=4, verbose=False
    )
    ((images, labels),) = theirs
    np.testing.assert_array_equal(np.asarray(images), found.images)
    assert np.asarray(labels).tolist() == found.labels.tolist()
    given = zoo.data.load(tmp_path, class_names=["dog", "emu", "cat", "ant"])
    assert sorted(given.labels.tolist()) == [0, 2, 3, 3]
    assert given.num_classes == 4
    with pytest.raises(ValueError, match="has the folders ant, which are not in class_names"):
        zoo.data.load(tmp_path, class_names=["cat", "dog"])


def test_numbers_of_classes_are_meant(tmp_path):
    """Alphabetical order would make the 10 a 1, and missing classes would shift the others."""
    for i, name in enumerate(["2", "10", "7"]):
        write(tmp_path / name / f"{i}.png", pixels(i))
    found = zoo.data.load(tmp_path)
    labels = dict(zip(found.files, found.labels.tolist(), strict=True))
    assert labels == {"2/0.png": 2, "10/1.png": 10, "7/2.png": 7}
    assert found.num_classes == 11


def test_parts_of_a_set_are_no_classes(tmp_path):
    write(tmp_path / "train" / "0" / "a.png", pixels(0))
    write(tmp_path / "test" / "1" / "a.png", pixels(1))
    assert zoo.data.load(tmp_path).labels.tolist() == [1]
    assert zoo.data.load(tmp_path, "train").labels.tolist() == [0]
    with pytest.raises(ValueError, match="has no folder 'validation', but test, train"):
        zoo.data.load(tmp_path, "validation")


def test_each_split_numbers_the_classes_alike(tmp_path):
    for i, name in enumerate(["train/cat", "train/dog", "train/fox", "val/dog", "test/fox"]):
        write(tmp_path / name / "a.png", pixels(i))
    for split, labels in {"train": [0, 1, 2], "validation": [1], "val": [1], "test": [2]}.items():
        found = zoo.data.load(tmp_path, split)
        assert found.labels.tolist() == labels
        assert (found.class_names, found.num_classes) == (("cat", "dog", "fox"), 3)
    assert zoo.data.load(tmp_path, "test", class_names=["fox", "dog"]).labels.tolist() == [0]
    assert zoo.data.has_split(tmp_path, "validation")
    assert not zoo.data.has_split(tmp_path / "train", "validation")
    (tmp_path / "train" / "ant").mkdir()  # without images it is no class of any part
    assert zoo.data.load(tmp_path, "test").labels.tolist() == [2]
    assert zoo.data.load(tmp_path, "train").labels.tolist() == [0, 1, 2]
    # A folder alone may lack images of a class that a model has.
    assert zoo.data.load(tmp_path / "train").labels.tolist() == [1, 2, 3]
    (tmp_path / "validation").mkdir()
    with pytest.raises(ValueError, match="folders val and validation for one split"):
        zoo.data.load(tmp_path, "validation")


@pytest.mark.parametrize(
    ("train", "validation", "test"),
    [("Train", "Valid", "Test"), ("training_set", "VAL", "test_set"), ("TRAIN", "val", "Testing")],
)
def test_splits_have_other_names_too(tmp_path, train, validation, test):
    for i, name in enumerate([train, validation, test]):
        write(tmp_path / name / "cat" / "a.png", pixels(i))
        write(tmp_path / name / "dog" / "a.png", pixels(9))
    for i, split in enumerate(["train", "validation", "test"]):
        found = zoo.data.load(tmp_path, split)
        assert (found.class_names, len(found)) == (("cat", "dog"), 2)
        np.testing.assert_array_equal(found.images[0], pixels(i))


def test_a_class_may_be_called_like_a_split(tmp_path):
    names = ["bus", "train"]
    for i, name in enumerate(names):
        write(tmp_path / name / "a.png", pixels(i))
    for split in ("train", "test"):
        with pytest.raises(ValueError, match="'train', which .* 'bus', which .* --classes, or"):
            zoo.data.load(tmp_path, split)
    assert not zoo.data.has_split(tmp_path / "bus" / "a.png", "validation")
    found = zoo.data.load(tmp_path, class_names=names)
    assert (found.labels.tolist(), found.class_names) == ([0, 1], ("bus", "train"))
    for i, name in enumerate(names):
        write(tmp_path / "set" / "train" / name / "a.png", pixels(i))
    with pytest.raises(ValueError, match="has no folder 'test', but train"):
        zoo.data.load(tmp_path / "set", class_names=names)
    assert zoo.data.load(tmp_path / "set", "Train", class_names=names).labels.tolist() == [0, 1]


def test_only_the_images_that_are_asked_for_are_read(tmp_path):
    for i, name in enumerate(["cat/a", "cat/b", "dog/c", "fox/d"]):
        write(tmp_path / f"{name}.png", pixels(i))
    (tmp_path / "dog" / "c.png").write_bytes(b"no image")
    found = zoo.data.load(tmp_path, n=2)
    np.testing.assert_array_equal(found.images, [pixels(0), pixels(1)])
    assert (found.labels.tolist(), found.files) == ([0, 0], ("cat/a.png", "cat/b.png"))
    assert found.class_names == ("cat", "dog", "fox")
    assert len(zoo.data.load(tmp_path / "cat", n=1)) == 1
    with pytest.raises(ValueError, match=r"c\.png cannot be used as an image"):
        zoo.data.load(tmp_path, n=3)
    assert len(zoo.data.load("digits", n=7)) == 7
    for wrong in (0, -1, 2.5):
        with pytest.raises(ValueError, match="n must be a positive integer"):
            zoo.data.load(tmp_path, n=wrong)


def test_a_path_is_not_the_name_of_a_set(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "digits" / "a.png", pixels(0))
    assert len(zoo.data.load(pathlib.Path("digits"))) == 1
    assert len(zoo.data.load("./digits")) == 1
    assert len(zoo.data.load("digits")) == 500
    with pytest.raises(FileNotFoundError, match="no such folder of images"):
        zoo.data.load(pathlib.Path("mnist"))


def test_channels(tmp_path):
    write(tmp_path / "gray.png", pixels(0, 1))
    write(tmp_path / "colour.png", pixels(1))
    mixed = zoo.data.load(tmp_path)
    assert mixed.images.shape == (2, SIDE, SIDE, 3)
    gray = zoo.data.load(tmp_path, image_shape=(SIDE, SIDE, 1))
    np.testing.assert_array_equal(gray.images[1, ..., 0], pixels(0, 1))
    expected = np.asarray(Image.fromarray(pixels(1)).convert("L"))
    np.testing.assert_array_equal(gray.images[0, ..., 0], expected)


def test_more_than_8_bits_are_kept(tmp_path):
    deep = np.linspace(0, 65535, SIDE * SIDE).astype(np.uint16).reshape(SIDE, SIDE)
    write(tmp_path / "deep.png", deep)
    found = zoo.data.load(tmp_path / "deep.png").images
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[0, ..., 0], deep / 65535, rtol=1e-6)


def test_a_photograph_is_upright(tmp_path):
    image = Image.fromarray(pixels(0))
    exif = image.getexif()
    exif[0x0112] = 3  # rotated by 180 degrees
    image.save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(zoo.data.load(tmp_path).images[0], pixels(0)[::-1, ::-1])


def test_sizes(tmp_path):
    write(tmp_path / "a.png", np.full((4, 8, 3), 7, np.uint8))
    for options in ({"image_shape": (2, 4, 3)}, {"image_shape": (2, 4, 3), "resize": False}):
        with pytest.raises(ValueError, match=r"a\.png has 4 × 8 pixels .* expected 2 × 4"):
            zoo.data.load(tmp_path, **options)
    small = zoo.data.load(tmp_path, image_shape=(2, 4, 1), resize=True)
    np.testing.assert_array_equal(small.images, np.full((1, 2, 4, 1), 7))


def test_a_picture_with_a_preview_behind_it(tmp_path):
    """As cameras write them: a JPEG file, which Pillow takes for one of the format MPO."""
    picture, preview = (Image.fromarray(pixels(i)) for i in range(2))
    picture.save(tmp_path / "photo.jpg", "MPO", save_all=True, append_images=[preview])
    with Image.open(tmp_path / "photo.jpg") as opened:
        assert opened.n_frames == 2
        expected = np.asarray(opened)
    np.testing.assert_array_equal(zoo.data.load(tmp_path / "photo.jpg").images[0], expected)


def test_files_that_are_no_usable_images_are_named(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="has no images; their names end in .png"):
        zoo.data.load(tmp_path / "empty")
    (tmp_path / "page.png").write_text("<html>")
    with pytest.raises(ValueError, match=r"page\.png cannot be used as an image"):
        zoo.data.load(tmp_path / "page.png")
    clear = np.concatenate([pixels(0), np.full((SIDE, SIDE, 1), 9, np.uint8)], axis=2)
    write(tmp_path / "clear.png", clear)
    with pytest.raises(ValueError, match="it has transparent pixels"):
        zoo.data.load(tmp_path / "clear.png")
    frames = [Image.fromarray(pixels(i)) for i in range(2)]
    frames[0].save(tmp_path / "film.gif", save_all=True, append_images=frames[1:])
    with pytest.raises(ValueError, match="it has several frames"):
        zoo.data.load(tmp_path / "film.gif")
    write(tmp_path / "empty" / "a.png", pixels(0))
    write(tmp_path / "empty" / "0" / "a.png", pixels(0))
    with pytest.raises(ValueError, match="has images beside folders of images"):
        zoo.data.load(tmp_path / "empty")
    with pytest.raises(FileNotFoundError, match="no such folder of images"):
        zoo.data.load(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="resize is for image files, not for digits"):
        zoo.data.load("digits", resize=True)


def test_files_of_arrays_of_other_origin(tmp_path):
    path = tmp_path / "mine.npz"
    gray = np.zeros((3, SIDE, SIDE), np.uint8)
    np.savez(path, x_test=gray, x_train=gray)
    assert zoo.data.load(path).images.shape == (3, SIDE, SIDE, 1)
    assert zoo.data.load(path).labels is None
    np.savez(path, test_images=gray, test_labels=np.array([[2], [0], [1]], np.uint8))
    assert zoo.data.load(path).labels.tolist() == [2, 0, 1]
    np.savez(path, images=gray, labels=np.arange(3))
    assert zoo.data.load(path).num_classes == 3


def test_a_contact_sheet_has_one_picture_for_each_image(digits):
    page = digits.take(5)._repr_html_()
    assert page.count("<img ") == 5
    assert page.count("<figcaption>") == 5
    assert len(page) < 5000
