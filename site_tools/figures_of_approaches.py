"""Draws the figures of the pages about the approaches.

The command is ``python -m site_tools.figures_of_approaches``.

Each figure is an SVG file with a white background, which a light and a dark page can both show.
"""

import pathlib
import re

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import BoundaryNorm, to_rgba
from scipy.spatial import ConvexHull

IMAGES = pathlib.Path(__file__).parents[1] / "docs" / "images"
BLUE, ORANGE, GREEN, GREY, RED = "#2563a8", "#d9730d", "#2e8b57", "#7a7a7a", "#b8324a"
STYLE = {
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.titlesize": 10.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.fonttype": "none",  # text stays text, which is small and sharp
    "svg.hashsalt": "certified-zoo",  # the same file in each run
    "legend.frameon": False,
    "legend.fontsize": 9,
}


def linf_dist():
    """Where an ℓp-distance neuron is 1, and how the logits bound the radius."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(8.4, 3.6))
    first, second = np.meshgrid(*[np.linspace(-1.25, 1.25, 161)] * 2)
    for p, colour in ((2, GREY), (8, ORANGE), (np.inf, BLUE)):
        points = np.stack([first, second], axis=-1)
        distance = np.linalg.norm(points, ord=p, axis=-1)
        left.contour(first, second, distance, [1.0], colors=[colour], linewidths=2)
        name = "∞" if p == np.inf else f"{p}"
        left.plot([], [], color=colour, linewidth=2, label=f"p = {name}")
    left.plot(0, 0, "o", color="black", markersize=5)
    left.annotate("w", (0, 0), (0.07, 0.07))
    left.set(xlabel="first input", ylabel="second input", xticks=[], yticks=[], aspect="equal")
    left.set_title("Inputs at distance 1 from the weights w")
    left.legend(loc="center", bbox_to_anchor=(0.5, 0.25))

    x = np.linspace(0, 1.1, 200)
    top = 1.6 - 0.55 * x + 0.12 * np.sin(5 * x)
    rival = 0.4 + 0.45 * x + 0.1 * np.sin(4 * x + 0.4) - 0.1 * np.sin(0.4)
    right.plot(x, top, color=BLUE, linewidth=2, label="largest logit")
    right.plot(x, rival, color=ORANGE, linewidth=2, label="another logit")
    right.plot(x, 1.6 - x, "--", color=BLUE, linewidth=1.2, label="slope −1")
    right.plot(x, 0.4 + x, "--", color=ORANGE, linewidth=1.2, label="slope +1")
    right.axvspan(0, 0.6, color=GREEN, alpha=0.12, linewidth=0)
    right.annotate("certified radius:\nhalf the margin", (0.6, 1.0), (0.63, 1.5), color=GREEN,
                   arrowprops={"arrowstyle": "->", "color": GREEN})  # fmt: skip
    right.set(xlabel="size of the perturbation in ℓ∞", xticks=[0, 0.6], yticks=[])
    right.set_xticklabels(["0", "r"])
    right.set(xlim=(0, 1.1), ylim=(0.25, 1.75))
    right.set_title("No logit moves faster than the image")
    right.legend(loc="lower right", ncols=2)
    return figure


def l2nnn():
    """What an orthogonal map, MaxMin and an ordinary map do to distances."""
    angle = np.linspace(0, 2 * np.pi, 241)
    ring = np.stack([np.cos(angle), np.sin(angle)])
    pair = np.array([[0.2, 0.95], [-0.7, 0.4]]).T
    turn = np.deg2rad(65)
    orthogonal = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    ordinary = np.array([[1.5, -0.75], [0.2, 1.2]])
    maps = {
        "input": lambda z: z,
        "after an orthogonal layer": lambda z: orthogonal @ z,
        "then after MaxMin": lambda z: np.sort(orthogonal @ z, axis=0)[::-1],
        "after an ordinary layer": lambda z: ordinary @ z,
    }
    figure, axes = plt.subplots(1, 4, figsize=(9.2, 2.7))
    for axis, (title, layer) in zip(axes, maps.items(), strict=True):
        drawn, ends = layer(ring), layer(pair)
        distance = np.linalg.norm(ends[:, 0] - ends[:, 1])
        colour = RED if title.endswith("ordinary layer") else BLUE
        # The image of a disc is convex under each of these maps.
        axis.fill(*convex_hull(drawn.T).T, facecolor=to_rgba(colour, 0.12), edgecolor=colour)
        axis.plot(*ends, "o-", color=ORANGE, markersize=5)
        axis.set(aspect="equal", xlim=(-1.9, 1.9), ylim=(-1.9, 1.9), xticks=[], yticks=[])
        axis.set_title(title)
        axis.set_xlabel(f"distance {distance:.2f}")
    return figure


def lipschitz_margin():
    """The margin along a line, and the line below it that the Lipschitz constant gives."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(8.4, 3.4))
    x = np.linspace(0, 1.6, 300)
    margin = 1.2 - 0.9 * x - 0.18 * np.sin(4.2 * x)
    bound = 1.2 - 1.7 * x
    flip = x[np.argmax(margin < 0)]
    left.axhline(0, color=GREY, linewidth=1)
    left.plot(x, margin, color=BLUE, linewidth=2, label="margin of the network")
    left.plot(x, bound, "--", color=GREEN, linewidth=1.5, label="margin − L · distance")
    left.axvspan(0, 1.2 / 1.7, color=GREEN, alpha=0.12, linewidth=0)
    left.plot(flip, 0, "o", color=RED)
    left.annotate("first flip", (flip, 0), (flip - 0.03, 0.3), color=RED)
    left.annotate("r", (1.2 / 1.7, 0), (1.2 / 1.7 - 0.09, -0.2), color=GREEN)
    left.set(xlabel="L2 distance from the image", xlim=(0, 1.6), ylim=(-0.6, 1.4), xticks=[0])
    left.set(yticks=[0])
    left.set_title("Certificate: the bound reaches 0 first")
    left.legend(loc="upper right")

    logits = np.array([2.6, 1.5, 0.9, 0.4])
    raised = {"LMT": np.array([0, 1, 1, 1]), "LC-LMT": np.array([0, 1, 0, 0])}
    for index, (name, mask) in enumerate(raised.items()):
        places = np.arange(4) + 5.2 * index
        colours = [BLUE, ORANGE, ORANGE, ORANGE]
        right.bar(places, logits, color=colours, width=0.75)
        right.bar(places, 0.8 * mask, bottom=logits, width=0.75, facecolor="white",
                  edgecolor=RED, linestyle="--")  # fmt: skip
        right.text(places.mean(), 3.15, name, ha="center")
    right.bar([0], [0], color=BLUE, label="logit of the label")
    right.bar([0], [0], color=ORANGE, label="other logits")
    right.bar([0], [0], facecolor="white", edgecolor=RED, linestyle="--", label="raised by √2 L ε")
    right.set(xticks=[], yticks=[], ylim=(0, 4.9))
    right.set_title("Training: the loss sees raised logits")
    right.legend(loc="upper center", ncols=2)
    return figure


def double_backprop():
    """The loss around a test image, for two networks that differ in the penalty alone."""
    import os

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras

    import zoo

    train, test = zoo.data.load("digits", "train"), zoo.data.load("digits", "test")
    images = test.images[:1].astype("float32")
    images = images / 255 if images.max() > 1 else images
    figure, axes = plt.subplots(1, 2, figsize=(8.4, 3.7), sharey=True)
    random = np.sign(np.random.default_rng(0).normal(size=images.shape))
    steps = np.linspace(-0.3, 0.3, 31)
    weights = {"without the penalty": 0.0, "with the penalty": 0.01}
    for axis, (title, weight) in zip(axes, weights.items(), strict=True):
        keras.utils.set_random_seed(0)
        network = {"name": "c", "image_shape": (8, 8, 1), "num_classes": 10, "hidden": [64, 32]}
        model = zoo.models.DoubleBackpropNet(network, weight, label_smoothing=0.0)
        model.compile(keras.optimizers.Adam(0.002))
        model.fit(train.images, train.labels, epochs=60, batch_size=128, verbose=0)
        worst = model.attack(images, test.labels[:1], "fgsm", eps=0.1) - images
        directions = np.sign(worst), random
        grid = np.stack(
            [images[0] + a * directions[0][0] + b * directions[1][0] for b in steps for a in steps]
        )
        # The figure is of the function itself, so the pixels are not cut off at 0 and 1.
        logits = keras.ops.convert_to_numpy(model.network(grid.astype("float32"), training=False))
        loss = np.logaddexp.reduce(logits, axis=1) - logits[:, test.labels[0]]
        levels = [0, 0.1, 0.25, 0.5, 1, 2, 4, 8]
        shape = (len(steps), len(steps))
        area = axis.contourf(steps, steps, loss.reshape(shape), levels, cmap="Blues",
                             norm=BoundaryNorm(levels, 256), extend="max")  # fmt: skip
        others = np.delete(logits, test.labels[0], axis=1).max(axis=1)
        margin = (logits[:, test.labels[0]] - others).reshape(shape)
        axis.contour(steps, steps, margin, [0.0], colors=[RED], linewidths=2)
        axis.plot(0, 0, "o", color="black", markersize=5)
        axis.set(xlabel="step along the sign of the gradient", aspect="equal")
        axis.set_title(title)
        accuracy = (model.predict(test.images, verbose=0).argmax(axis=1) == test.labels).mean()
        print(f"double_backprop, {title}: {accuracy:.1%} clean accuracy")
    axes[0].set_ylabel("step along a random sign")
    figure.colorbar(area, ax=axes, label="cross-entropy", shrink=0.85)
    return figure


def second_order():
    """A smooth function, the parabola below it, and the radius that the parabola gives."""
    figure, axis = plt.subplots(figsize=(6.4, 3.6))
    x = np.linspace(0, 2, 400)

    def function(t):
        return 0.9 - 0.35 * t + 0.25 * (np.cos(2 * t) - 1) + 0.05 * np.sin(4 * t)

    slope = -0.35 + 0.2
    second = np.gradient(np.gradient(function(x), x), x)[2:-2]
    lower = 1.15 * second.min()  # a bound is never exact
    parabola = 0.9 + slope * x + lower / 2 * x**2
    radius = x[np.argmax(parabola < 0)]
    flip = x[np.argmax(function(x) < 0)]
    axis.axhline(0, color=GREY, linewidth=1)
    axis.axvspan(0, radius, color=GREEN, alpha=0.12, linewidth=0)
    axis.plot(x, function(x), color=BLUE, linewidth=2, label="f, the difference of two logits")
    axis.plot(
        x, parabola, "--", color=GREEN, linewidth=1.5, label="value, slope, curvature bound m"
    )
    axis.plot(x, 0.9 + slope * x, ":", color=GREY, linewidth=1.5, label="value and slope alone")
    axis.plot(flip, 0, "o", color=RED)
    axis.annotate("first flip", (flip, 0), (flip + 0.05, 0.07), color=RED)
    axis.annotate("r", (radius, 0), (radius - 0.09, -0.14), color=GREEN)
    axis.set(xlim=(0, 2), ylim=(-0.6, 1.4), xticks=[0], yticks=[0])
    axis.set_xlabel("L2 distance from the image, along one direction")
    axis.legend(loc="upper right")
    return figure


def any_network():
    """The relaxation of one ReLU, and the outputs of a small network with two bounds of them."""
    random = np.random.default_rng(140)
    first, second = random.normal(size=(6, 2)), random.normal(size=(2, 6)) / 2
    shift, image, epsilon = random.normal(size=6) / 2, np.array([0.5, 0.4]), 0.35
    middle, reach = first @ image + shift, epsilon * abs(first).sum(axis=1)
    low, high = middle - reach, middle + reach
    # The lines below and above each ReLU between its bounds, as (slope, offset).
    crosses = (low < 0) & (high > 0)
    chord = np.where(crosses, high / np.where(crosses, high - low, 1), low >= 0)
    below = np.where(crosses, high > -low, low >= 0).astype(float)
    offset = np.where(crosses, -chord * low, 0)

    def crown(direction):
        """A lower bound of ``direction · logits`` over the box of inputs."""
        row = direction @ second
        slopes = np.where(row > 0, row * below, row * chord)
        constant = (np.minimum(row, 0) * offset).sum() + slopes @ shift
        inputs = slopes @ first
        return constant + inputs @ image - epsilon * abs(inputs).sum()

    figure, (left, right) = plt.subplots(1, 2, figsize=(8.4, 3.7))
    z, start, end = np.linspace(-1.6, 2.2, 200), -1.0, 1.6
    slope = end / (end - start)
    inside = np.array([start, end])
    left.fill([start, end, end, start], [start, end, end, 0], color=GREEN, alpha=0.15, linewidth=0)
    left.plot(inside, slope * (inside - start), "--", color=GREEN, linewidth=1.5)
    left.plot(inside, inside, "--", color=GREEN, linewidth=1.5, label="lines of CROWN")
    left.plot([start, end, end, start, start], [0, 0, end, end, 0], ":", color=ORANGE, linewidth=2,
              label="interval bounds")  # fmt: skip
    left.plot(z, np.maximum(z, 0), color=BLUE, linewidth=2, label="ReLU")
    left.set(xticks=[start, end], yticks=[0], xlabel="input of the activation", ylim=(-1.2, 2.9))
    left.set_xticklabels(["lower", "upper"])
    left.set_title("One activation")
    left.legend(loc="upper left")

    inputs = image + epsilon * random.uniform(-1, 1, size=(60000, 2))
    outputs = np.maximum(inputs @ first.T + shift, 0) @ second.T
    hull = convex_hull(outputs)
    right.fill(*hull.T, color=BLUE, alpha=0.3, linewidth=0, label="outputs (convex hull)")
    angles = np.linspace(0, 2 * np.pi, 361)[:-1]
    directions = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    bounds = np.array([crown(direction) for direction in directions])
    corners = [
        np.linalg.solve(np.stack([a, b]), [c, d])
        for a, b, c, d in zip(directions, np.roll(directions, -1, axis=0), bounds,
                              np.roll(bounds, -1), strict=True)
    ]  # fmt: skip
    right.plot(*np.array([*corners, corners[0]]).T, "--", color=GREEN, linewidth=1.5, label="CROWN")
    active_low, active_high = np.maximum(low, 0), np.maximum(high, 0)
    box_low = np.maximum(second, 0) @ active_low + np.minimum(second, 0) @ active_high
    box_high = np.maximum(second, 0) @ active_high + np.minimum(second, 0) @ active_low
    right.plot(
        *box_corners(box_low, box_high), ":", color=ORANGE, linewidth=2, label="interval box"
    )
    line = np.array([min(box_low), max(box_high)])
    right.plot(line, line, color=GREY, linewidth=1)
    assert (outputs @ directions.T >= bounds - 1e-9).all()
    right.set(xlabel="logit of class 1", ylabel="logit of class 2", xticks=[], yticks=[])
    right.set_title("All outputs for one ball of inputs")
    right.legend(loc="upper left")
    return figure


def box_corners(low, high):
    return [low[0], high[0], high[0], low[0], low[0]], [low[1], low[1], high[1], high[1], low[1]]


def convex_hull(points):
    return points[ConvexHull(points).vertices]


FIGURES = (linf_dist, l2nnn, lipschitz_margin, double_backprop, second_order, any_network)


def main():
    IMAGES.mkdir(exist_ok=True)
    with plt.rc_context(STYLE):
        for draw in FIGURES:
            figure = draw()
            path = IMAGES / f"approach_{draw.__name__}.svg"
            figure.savefig(path, facecolor="white", bbox_inches="tight", metadata={"Date": None})
            plt.close(figure)
            # A hundredth of a point is exact enough, and halves the file.
            drawn = re.sub(r"\d+\.\d{3,}", lambda n: f"{float(n[0]):.2f}", path.read_text("utf-8"))
            path.write_text(drawn, encoding="utf-8")
            print(f"{path}: {path.stat().st_size / 1024:.0f} kB")


if __name__ == "__main__":
    main()
