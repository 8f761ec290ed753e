"""Figures 1 and 2a and Table 1 of the LC-LMT paper, measured over three seeds."""

import dataclasses
import functools
import pathlib
import time

import keras
import numpy as np

from training.hardware import hardware
from training.tables.results import fill, floats, read, spread
from zoo import data
from zoo.attacks.victim import victim
from zoo.models import LipschitzMarginNet

RESULTS = pathlib.Path(__file__).with_name("lc-lmt.json")

SEEDS = (0, 1, 2)
_BUDGETS = (0.5, 1.0, 1.58)
# Norms of the perturbations that Figure 2a is read at.
_NORMS = (0.5, 1.0, 2.0, 3.0)
# Of the images that are attacked, and whose margins are averaged, the first of the test set.
_ATTACKED = 200
_CW = {"steps": 100, "search_steps": 5, "learning_rate": 0.05}
_EPOCHS = {"mnist": 40, "cifar10": 10}
_BATCH = 128
_NETWORKS = {
    # The paper's.
    "mnist": {"name": "mlp", "image_shape": [28, 28, 1], "hidden": [100, 100, 100]},
    # In place of its WideResNet-16-4, which takes an accelerator.
    "cifar10": {
        "name": "convnet",
        "image_shape": [32, 32, 3],
        "filters": [16, 32],
        "hidden": [100],
    },
}
# Accuracy on the training and the test images of SVHN, as printed in Table 1.
PAPER = {
    ("lmt", 0.2): (50.0, 78.5),
    ("lmt", 1.0): (33.5, 70.0),
    ("lc-lmt", 0.2): (93.3, 93.6),
    ("lc-lmt", 1.0): (91.1, 91.2),
    ("plain", 0.0): (98.4, 97.5),
}


@dataclasses.dataclass(frozen=True)
class Setting:
    """One line of a figure: all its seeds together.

    Attributes:
        dataset: a key of ``zoo.data.DATASETS``.
        variant: ``"lmt"``, ``"lc-lmt"`` or ``"plain"``, the cross-entropy alone.
        epsilon: L2 budget that is trained for.
    """

    dataset: str
    variant: str
    epsilon: float

    @property
    def name(self):
        return f"{self.dataset}-{self.variant}-{self.epsilon:g}"

    @property
    def label(self):
        return self.variant if self.variant == "plain" else f"{self.variant} ({self.epsilon:g})"


_FIRST = [Setting("mnist", variant, 1.0) for variant in ("lmt", "lc-lmt")]
_SECOND = [
    *(Setting("mnist", "lmt", epsilon) for epsilon in (0.2, 0.5)),
    *(Setting("mnist", "lc-lmt", epsilon) for epsilon in (0.2, 0.5, 2.0, 10.0)),
    Setting("mnist", "plain", 0.0),
]
_THIRD = [Setting("cifar10", variant, epsilon) for variant, epsilon in PAPER]
#: In the order they are trained.
ROWS = [*_FIRST, *_THIRD, *_SECOND]


class MarginHistory(keras.callbacks.Callback):
    """After each epoch, the mean margin of the label and the margin that the bound asks for.

    Args:
        images, labels: that margins are averaged over.
        epsilon: L2 budget.
    """

    def __init__(self, images, labels, epsilon):
        super().__init__()
        self.images, self.labels, self.epsilon = images, labels, epsilon
        self.margin, self.required = [], []

    def on_epoch_end(self, epoch, logs=None):
        self.model.sync_jax_state()
        self.margin.append(float(np.mean(victim(self.model).gap(self.images, self.labels))))
        lipschitz = self.model.network_lipschitz()
        self.required.append(float(np.sqrt(2.0) * lipschitz * self.epsilon))


def measure(setting, seed, train, test, epochs, verbose=0):
    """Train one network and measure what the figures say of it.

    Full ε from the first step, as in the paper, and no augmentation.

    Args:
        setting: :class:`Setting`.
        seed: of weights and batches.
        train, test: :class:`zoo.data.ImageSet`.
        epochs: number of them.

    Returns:
        Dictionary, ready for JSON.
    """
    keras.utils.set_random_seed(seed)
    network = {**_NETWORKS[setting.dataset], "num_classes": train.num_classes}
    plain = setting.variant == "plain"
    model = LipschitzMarginNet(
        network, setting.epsilon or 1.0, "lc-lmt" if plain else setting.variant
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True) if plain else None
    model.compile(keras.optimizers.Adam(1e-3), loss)
    margins = MarginHistory(*floats(test.take(1000)), setting.epsilon)
    images, labels = floats(train)
    start = time.perf_counter()
    history = model.fit(
        images, labels, batch_size=_BATCH, epochs=epochs, verbose=verbose, callbacks=[margins]
    ).history
    seconds = time.perf_counter() - start
    x, y = floats(test)
    certificate = model.certify(x)
    found = {
        "epochs": epochs,
        "seconds": round(seconds),
        "hardware": hardware(),
        "loss": history["loss"],
        "margin": margins.margin,
        "required": margins.required,
        "train": float((np.argmax(model.logits(images), axis=1) == labels).mean()),
        "test": float((certificate.prediction == y).mean()),
        "n": len(y),
        "certified": {str(eps): certificate.accuracy(y, eps) for eps in _BUDGETS},
    }
    if setting.dataset == "mnist":
        found["norms"] = _norms(model, x[:_ATTACKED], y[:_ATTACKED])
    return found


def run(runs, rows=tuple(ROWS), seeds=SEEDS, data_file=None, results=RESULTS, verbose=1):
    """Train and measure what has no result yet; each network is kept as soon as it is there.

    Args:
        runs: not used: these networks are small, and only their measurements are kept.
        rows: list of :class:`Setting`.
        seeds: of each.
        data_file: an ``.npz`` file in place of the image sets.
        results: JSON file that the tables are made from.
    """

    def measured(row, seed):
        train, test = (data.load(data_file or row.dataset, part) for part in ("train", "test"))
        return measure(row, seed, train, test, _EPOCHS[row.dataset])

    pairs = [(row, seed) for row in rows for seed in seeds]
    fill(
        results,
        [(_key(row, seed), functools.partial(measured, row, seed)) for row, seed in pairs],
        verbose,
    )


def tables(results=RESULTS):
    """The tables as ``{title, caption, text, rows}``; ``text`` names the text columns."""
    found = read(results)
    seeds = "Mean ± standard deviation over the seeds. "
    attacked = f"Carlini–Wagner L2, {_CW['steps']} iterations, first {_ATTACKED} test images. "
    return [
        _table(
            "Figure 1: MNIST, ε = 1",
            seeds + "Margins are means of 1,000 test images; required: √2 L ε of the certified L. "
            "The paper meets the bound from epoch 5 on (LC-LMT) and from about epoch 35 on (LMT).",
            [_figure_1(setting, _seeds(found, setting)) for setting in _FIRST],
        ),
        _table(
            "Figure 2a: MNIST, accuracy, %, where perturbations are no longer than a norm",
            seeds + attacked + "Certified accuracy is of all test images.",
            [_figure_2(setting, _seeds(found, setting)) for setting in [*_FIRST, *_SECOND]],
        ),
        _table(
            "Table 1: accuracy, %, on training and test images",
            seeds + "The paper's columns are of SVHN and WideResNet-16-4; ours of CIFAR-10 and two "
            "convolutions of stride 2 under two dense layers. SVHN waits for its data.",
            [_table_1(setting, _seeds(found, setting)) for setting in _THIRD],
        ),
    ]


def plot(path, results=RESULTS):
    """Draw Figures 1a, 1b and 2a from the results.

    Args:
        path: image file; its ending chooses the format.
        results: as for :func:`tables`.

    Raises:
        ValueError: if there are no results yet.
    """
    from matplotlib.figure import Figure

    found = read(results)
    if not any(_seeds(found, setting) for setting in [*_FIRST, *_SECOND]):
        raise ValueError(f"{results} has no results; python -m training.tables lc-lmt --train")
    figure = Figure(figsize=(15, 4.5), layout="constrained")
    margins, losses, attacks = figure.subplots(1, 3)
    for setting, colour in zip(_FIRST, ("C0", "C1"), strict=True):
        own = _seeds(found, setting)
        if own:
            _band(margins, own, "margin", colour, "-", f"{setting.label}: mean margin")
            _band(margins, own, "required", colour, "--", f"{setting.label}: required")
            _band(losses, own, "loss", colour, "-", setting.label)
    margins.set(xlabel="epoch", ylabel="logits", title="1a: margin, MNIST, ε = 1")
    losses.set(xlabel="epoch", ylabel="training loss", title="1b: loss")
    grid = np.linspace(0, 5, 101)
    for setting in [*_FIRST, *_SECOND]:
        own = _seeds(found, setting)
        if own:
            curves = [100 * _left(run, grid) for run in own]
            attacks.plot(grid, np.mean(curves, axis=0), label=setting.label)
    attacks.set(
        xlabel="L2 norm of the perturbation", ylabel="accuracy, %", title="2a: Carlini–Wagner"
    )
    for axes in (margins, losses, attacks):
        axes.grid(alpha=0.3)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize="small")
    figure.savefig(path, dpi=150)


def _norms(model, x, y):
    """Norm of the smallest perturbation found: 0 where already wrong, None where none was found."""
    x_adv = model.attack(x, y, "cw", eps=float(np.sqrt(x[0].size)), norm="l2", **_CW)
    change = (x_adv.astype(np.float64) - x).reshape(len(x), -1)
    fooled, wrong = (victim(model).gap(images, y) <= 0 for images in (x_adv, x))
    norms = np.where(wrong, 0.0, np.linalg.norm(change, axis=1))
    return [float(norm) if hit else None for norm, hit in zip(norms, fooled | wrong, strict=True)]


def _left(run, norms):
    """Fraction of images that no perturbation up to each norm has fooled."""
    needed = np.array([np.inf if norm is None else norm for norm in run["norms"]])
    return np.array([(needed > norm).mean() for norm in norms])


def _met_from(run):
    """The epoch, from 1, from which on the mean margin is above what is required; None if never."""
    below = np.flatnonzero(np.array(run["margin"]) < np.array(run["required"]))
    first = 1 if not len(below) else int(below[-1]) + 2
    return first if first <= len(run["margin"]) else None


def _figure_1(setting, runs):
    met = [_met_from(run) for run in runs]
    met_by = spread(met) if all(met) else f"never in {sum(e is None for e in met)} of {len(met)}"
    row = {"training": setting.label, "bound met from epoch": met_by if runs else None}
    for epoch in (1, 5, -1):
        name = "the last" if epoch == -1 else epoch
        index = epoch if epoch == -1 else epoch - 1
        for key in ("margin", "required", "loss"):
            values = [run[key][index] for run in runs if len(run[key]) > index]
            row[f"{key}, epoch {name}"] = spread(values)
    return _trained(row, runs)


def _figure_2(setting, runs):
    row = {"training": setting.label, "clean": spread([100 * run["test"] for run in runs])}
    for norm in _NORMS:
        row[f"CW {norm:g}"] = spread([100 * _left(run, [norm])[0] for run in runs])
    for eps in _BUDGETS:
        values = [100 * run["certified"][str(eps)] for run in runs]
        row[f"certified {eps}"] = spread(values)
    return _trained(row, runs)


def _table_1(setting, runs):
    row = {"training": setting.label}
    row["paper: train"], row["paper: test"] = PAPER[setting.variant, setting.epsilon]
    for part in ("train", "test"):
        row[f"CIFAR-10: {part}"] = spread([100 * run[part] for run in runs])
    row.update({"SVHN: train": None, "SVHN: test": None})
    return _trained(row, runs)


def _trained(row, runs):
    seconds = round(np.mean([run["seconds"] for run in runs])) if runs else 0
    row["trained"] = (
        f"{len(runs)} seeds, {runs[0]['epochs']} epochs, {seconds} s each"
        if runs
        else "not trained: python -m training.tables lc-lmt --train"
    )
    return row


def _table(title, caption, rows):
    return {"title": title, "caption": caption, "text": ["training", "trained"], "rows": rows}


def _band(axes, runs, key, colour, style, label):
    values = np.array([run[key] for run in runs])
    epochs, mean, deviation = np.arange(1, values.shape[1] + 1), values.mean(0), values.std(0)
    axes.plot(epochs, mean, style, color=colour, label=label)
    axes.fill_between(epochs, mean - deviation, mean + deviation, color=colour, alpha=0.2)


def _seeds(found, setting):
    keys = [_key(setting, seed) for seed in SEEDS]
    return [found[key] for key in keys if key in found]


def _key(setting, seed):
    return f"{setting.name}-seed{seed}"
