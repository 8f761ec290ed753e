"""Tables 1 and 2 of the L2NNN poster, and what they leave out."""

import functools
import json
import pathlib

import numpy as np

from training import recipe as recipes
from training.run import train
from training.tables.results import fill, read
from zoo import data
from zoo.models import CertifiedModel

RESULTS = pathlib.Path(__file__).with_name("l2nnn.json")

# Natural, FGSM and PGD accuracy in percent, and the mean confidence gap, as printed; the ResNet's
# gaps lost their exponents in print.
POSTER = {
    "convnet-w0.0-no-dbc": (86.89, 86.90, 86.10, 4.796e-3),
    "convnet-w0.0-dbc": (82.30, 82.25, 70.59, 5.533e-3),
    "convnet-w0.1-no-dbc": (88.83, 88.42, 65.35, 3.372e-3),
    "convnet-w0.1-dbc": (99.00, 3.66, 0.91, 7.211e-1),
    "convnet-w0.5-no-dbc": (79.37, 77.05, 65.85, 7.950e-4),
    "convnet-w0.5-dbc": (97.42, 4.32, 3.10, 5.776e-1),
    "resnet-w0.0-no-dbc": (66.94, 66.91, 57.81, 1.6e-11),
    "resnet-w0.0-dbc": (20.37, 20.32, 22.33, 1.1e-9),
    "resnet-w0.1-no-dbc": (75.05, 73.90, 61.39, 9.1e-8),
    "resnet-w0.1-dbc": (98.83, 1.16, 0.34, 1.678),
    "resnet-w0.5-no-dbc": (90.44, 90.21, 54.79, 2.2e-6),
    "resnet-w0.5-dbc": (93.92, 3.99, 1.07, 0.470),
}
# The poster's attacks: ℓ∞, cross-entropy.
_EPS = 0.3
_PGD = {"steps": 40, "step_size": 0.01}
_BUDGETS = (0.5, 1.0, 1.58)
# Of the images that are attacked, the first of the test set; everything else is of all of them.
_ATTACKED = {"convnet": 300, "resnet20": 100}


class Rescaled(CertifiedModel):
    """A model with all logits multiplied by one number: the same classes, other gradients.

    Args:
        model: a :class:`zoo.models.CertifiedModel`.
        factor: positive.
    """

    def __init__(self, model, factor):
        super().__init__(model.image_shape, model.num_classes)
        self.model, self.factor = model, factor

    def call(self, inputs, training=False):
        return self.model(inputs, training=training) * self.factor


def measure(model, images, labels, verbose=0):
    """What the tables say of one network.

    Args:
        model: an :class:`zoo.models.L2NonexpansiveNet`.
        images, labels: of the test set.

    Returns:
        Dictionary of accuracies, the mean gap between the largest two logits, and ``n``; attacks
        are of the first ``n attacked`` images.
    """
    certificate = model.certify(images, verbose=verbose)
    attacked = _ATTACKED[model.network]
    x, y = images[:attacked], labels[:attacked]
    gap = float(np.mean(certificate.margin, dtype=np.float64))
    unit = Rescaled(model, 1.0 / gap if gap > 0 else 1.0)

    def left(model, attack, **params):
        x_adv = model.attack(x, y, attack, eps=_EPS, norm="linf", verbose=verbose, **params)
        return float((np.argmax(model.logits(x_adv), axis=1) == y).mean())

    return {
        "n": len(images),
        "n attacked": len(x),
        "natural": float((certificate.prediction == labels).mean()),
        "fgsm": left(model, "fgsm"),
        "pgd": left(model, "pgd", loss="cross_entropy", **_PGD),
        "gap": gap,
        "pgd rescaled": left(unit, "pgd", loss="margin", **_PGD),
        "certified": {str(eps): certificate.accuracy(labels, eps) for eps in _BUDGETS},
        "lipschitz": float(np.prod(list(model.lipschitz().values()))),
    }


def run(runs, rows=tuple(POSTER), data_file=None, results=RESULTS, verbose=1):
    """Train and measure the rows that have no result yet; each is kept as soon as it is there.

    Args:
        runs: folder of the runs; an interrupted one goes on.
        rows: names of rows.
        data_file: an ``.npz`` file in place of MNIST.
        results: JSON file that the table is made from.
    """

    def measured(row):
        recipe = recipes.load(f"l2nnn-poster/{row}")
        folder = pathlib.Path(runs) / "l2nnn-poster" / row
        model = train(recipe, folder, data_file=data_file, verbose=verbose)
        test = data.load(data_file or recipe["data"]["name"], "test")
        trained = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        kept = ("epochs", "images", "seconds", "hardware", "seed")
        trained = {key: trained[key] for key in kept}
        return {**measure(model, test.images, test.labels, verbose), **trained}

    fill(results, [(row, functools.partial(measured, row)) for row in rows], verbose)


def tables(results=RESULTS):
    """Both tables as ``{title, caption, text, rows}``; ``text`` names the text columns."""
    found = read(results)
    captions = {
        "convnet": "Table 1: MNIST, ConvNet, %",
        "resnet": "Table 2: MNIST, ResNet-20, %",
    }
    return [
        {
            "title": title,
            "caption": "Columns of the poster, then our own. FGSM and PGD (40 steps of 0.01) at ℓ∞ "
            "0.3 with the cross-entropy; 'rescaled': PGD with the margin loss on logits rescaled "
            "to a mean gap of 1, which changes no prediction. Certified in L2.",
            "text": ["network", "trained"],
            "rows": [
                _row(row, poster, found.get(row))
                for row, poster in POSTER.items()
                if row.startswith(network)
            ],
        }
        for network, title in captions.items()
    ]


def plot(path, results=RESULTS):
    """Draw, per row, what the printed attack leaves and what the same attack on rescaled logits.

    Args:
        path: image file; its ending chooses the format.
        results: as for :func:`tables`.

    Raises:
        ValueError: if there are no results yet.
    """
    from matplotlib.figure import Figure

    found = read(results)
    rows = [row for row in POSTER if row in found]
    if not rows:
        raise ValueError(f"{results} has no results; python -m training.tables l2nnn --train")
    figure = Figure(figsize=(8, 1.2 + 0.5 * len(rows)), layout="constrained")
    axes = figure.add_subplot()
    places = np.arange(len(rows))
    bars = {
        "natural": [found[row]["natural"] for row in rows],
        "PGD as printed": [found[row]["pgd"] for row in rows],
        "PGD on logits rescaled to unit gap": [found[row]["pgd rescaled"] for row in rows],
    }
    for index, (label, values) in enumerate(bars.items()):
        axes.barh(places + 0.27 * (index - 1), 100 * np.array(values), 0.25, label=label)
    axes.set_yticks(places, [f"{row}\nmean gap {found[row]['gap']:.1e}" for row in rows])
    axes.invert_yaxis()
    axes.set_xlim(0, 101)
    axes.set_xlabel(f"accuracy, %, at ℓ∞ {_EPS}")
    axes.grid(axis="x", alpha=0.3)
    figure.legend(loc="outside lower center", ncols=3)
    figure.savefig(path, dpi=150)


def _row(name, poster, own):
    row = {"network": name}
    row.update(zip(("natural", "FGSM", "PGD", "gap"), poster, strict=True))
    columns = ["natural", "fgsm", "pgd", "gap", "pgd rescaled"]
    row.update((f"our {column}", None) for column in columns)
    row.update((f"certified {eps}", None) for eps in _BUDGETS)
    row["trained"] = "not trained: python -m training.tables l2nnn --train"
    if own:
        for column in columns:
            value = own[column]
            row[f"our {column}"] = float(f"{value:.3e}") if column == "gap" else _percent(value)
        for eps in _BUDGETS:
            row[f"certified {eps}"] = _percent(own["certified"][str(eps)])
        passes = f"{own['epochs']} × {own['images']} images, {own['seconds']} s"
        row["trained"] = f"{passes}; n {own['n']}, attacked {own['n attacked']}"
    return row


def _percent(accuracy):
    return round(100 * accuracy, 2)
