"""Draw the pictures of README and of the site: ``python -m site_tools.figures [PICTURE ...]``.

It needs MNIST and GTSRB; ``TFDS_DATA_DIR`` is honoured. The pictures are committed, because the
site is built without data sets.
"""

import argparse
import os
import pathlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import matplotlib  # noqa: E402
import numpy as np  # noqa: E402

import zoo  # noqa: E402
from zoo.utils.table import floor_text  # noqa: E402

matplotlib.use("agg")

from matplotlib import colors, patches, pyplot  # noqa: E402

IMAGES = pathlib.Path(__file__).parents[1] / "docs" / "images"
MODEL = "crt-mnist"
SIGNS = "lc-lmt-gtsrb"
#: The image that the first picture is about, an index of MNIST's test set.
EXAMPLE = 10
#: How far the slice through image space reaches, in radii of the certificate.
REACH = 2.4
OTHER_CLASSES = ["#f6c9c4", "#f3d9a4", "#cfd8f0", "#e3cdea", "#d5d5d5"]


def main():
    parser = argparse.ArgumentParser(description="Draw pictures of README and of the site.")
    parser.add_argument("picture", nargs="*", choices=[*PICTURES, []], help="default: all")
    zoo.ops.use_float32_products()
    IMAGES.mkdir(exist_ok=True)
    for name in parser.parse_args().picture or PICTURES:
        PICTURES[name]()


def draw_certified_ball():
    """An image, an attack inside its certified ball, the nearest flip, and a slice of the space.

    The slice is the plane through the image and the nearest images that an attack found of two
    other classes.
    """
    model = zoo.load(MODEL)
    image = zoo.data.load("mnist", "test").images[EXAMPLE].astype("float32") / 255
    certificate = model.certify(image[None])
    radius, prediction = float(certificate.radius[0]), int(certificate.prediction[0])
    shown_radius = floor_text(radius, 2)
    logits = model.logits(image[None])[0]
    others = [int(label) for label in np.argsort(-logits) if label != prediction][:5]
    targets = np.array(others)
    flips = zoo.attacks.attack(
        model,
        np.repeat(image[None], len(targets), 0),
        np.full(len(targets), prediction),
        "fmn",
        eps=4 * radius,
        target=targets,
    )
    distances = np.linalg.norm((flips - image).reshape(len(flips), -1), axis=1)
    reached = np.argmax(model.logits(flips), 1) != prediction
    order = np.argsort(np.where(reached, distances, np.inf))
    nearest, second = flips[order[0]], flips[order[1]]
    inside = model.attack(
        image[None], np.array([prediction]), "pgd", eps=shown_radius, restarts=3, steps=50
    )[0]
    first_axis = (nearest - image).ravel().astype(np.float64)
    distance = np.linalg.norm(first_axis)
    first_axis /= distance
    second_axis = (second - image).ravel().astype(np.float64)
    second_axis -= (second_axis @ first_axis) * first_axis
    second_axis /= np.linalg.norm(second_axis)

    figure, axes = pyplot.subplots(1, 4, figsize=(11, 3.3), width_ratios=[1, 1, 1, 1.5])
    shown = [
        (image, "the image"),
        (inside, f"attacked within {shown_radius}"),
        (nearest, f"attacked within {np.ceil(100 * distance) / 100:.2f}"),
    ]
    for axis, (pixels, text) in zip(axes, shown, strict=False):
        label = int(np.argmax(model.logits(pixels[None])[0]))
        axis.imshow(pixels[..., 0], cmap="gray_r", vmin=0, vmax=1)
        color = "#1a7f37" if label == prediction else "#cf222e"
        axis.set_title(f"{text}\nclassified as {label}", fontsize=11, color=color)
        axis.set_xticks([])
        axis.set_yticks([])
    steps = np.linspace(-REACH * radius, REACH * radius, 161)
    across, up = np.meshgrid(steps, steps)
    plane = image.ravel() + across[..., None] * first_axis + up[..., None] * second_axis
    # Points of the plane outside of [0, 1] are no images; the network is drawn there all the same.
    points = plane.reshape(-1, *image.shape).astype(np.float32)
    classes = np.argmax(model.network.predict(points, batch_size=1024, verbose=0), 1)
    found = np.unique(classes)
    palette = [
        "#b7dfc0" if label == prediction else OTHER_CLASSES[index % len(OTHER_CLASSES)]
        for index, label in enumerate(found)
    ]
    axis = axes[3]
    axis.pcolormesh(
        across,
        up,
        np.searchsorted(found, classes).reshape(across.shape),
        cmap=colors.ListedColormap(palette),
        rasterized=True,
    )
    for label in found:
        rows, columns = np.nonzero((classes == label).reshape(across.shape))
        if len(rows) < 300:
            continue
        row, column = (int(rows.mean()), int(columns.mean()))
        if label == prediction:  # the middle of this region is taken by the ball
            row = column = 25
        axis.text(
            steps[column],
            steps[row],
            str(label),
            fontsize=13,
            ha="center",
            va="center",
            color="#444444",
        )
    axis.add_patch(patches.Circle((0, 0), radius, fill=False, linewidth=2, color="#1a7f37"))
    axis.plot(0, 0, "o", color="black", markersize=4)
    axis.plot(distance, 0, "x", color="#cf222e", markersize=8, markeredgewidth=2)
    axis.set_aspect("equal")
    axis.set_xticks([])
    axis.set_yticks([])
    axis.set_title(
        f"classes around the image, and\nits certified ball, radius {shown_radius}", fontsize=11
    )
    figure.tight_layout()
    figure.savefig(IMAGES / "certified_ball.png", dpi=110)


def draw_accuracy():
    """Certified accuracy and accuracy under attack, against the budget."""
    test = zoo.data.load("mnist", "test").take(1000)
    report = zoo.load(MODEL).evaluate_robustness(
        test.images,
        test.labels,
        eps=[0.25, 0.5, 0.75, 1.0, 1.25, 1.58, 2.0],
        attacks=("auto",),
        spare_certified=["auto"],
        verbose=1,
    )
    print(report)
    figure, axis = pyplot.subplots(figsize=(6, 3.7), layout="constrained")
    report.plot(axis)
    axis.set_title(f"{MODEL} on the first {report.n:,} test images of MNIST", fontsize=11)
    figure.savefig(IMAGES / "certified_accuracy.png", dpi=110)


def draw_road_signs():
    """Clean and certified accuracy of each class of road signs."""
    test = zoo.data.load("gtsrb", "test")
    report = zoo.load(SIGNS).evaluate_robustness(
        test.images, test.labels, eps=["36/255", "72/255"], attacks=(), verbose=1
    )
    figure, axis = pyplot.subplots(figsize=(10.5, 5), layout="constrained")
    report.by_class(test.class_names).plot(axis)
    figure.savefig(IMAGES / "road_signs.png", dpi=90)


PICTURES = {
    "certified_ball": draw_certified_ball,
    "certified_accuracy": draw_accuracy,
    "road_signs": draw_road_signs,
}

if __name__ == "__main__":
    main()
