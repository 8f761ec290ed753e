"""Tables 2, 3 and 4 of the paper on L1-norm double backpropagation, with what they leave out."""

import dataclasses
import functools
import pathlib
import time

import keras
import numpy as np

from training.hardware import hardware
from training.tables.results import fill, floats, read, spread
from zoo import data
from zoo.losses import JacobianL1
from zoo.models import DoubleBackpropNet

RESULTS = pathlib.Path(__file__).with_name("double-backprop.json")

SEEDS = (0, 1, 2)
#: Of each training, unless validation stalls before: of adversarial ones, and of those with the
#: full form, a step of which costs thrice as much. The paper's end at 100 and 150.
EPOCHS = {"summed": 2, "full": 1}
_VALIDATION = 5000
# Model C is whole; the others take an accelerator.
_MODEL = "c"
_PIXELS, _CLASSES = 784, 10
# Of the test images: the first ones.
_ATTACKED, _CERTIFIED, _SLOPES = 500, 20, 500
_PGD = {"steps": 40, "step_size": 0.01, "loss": "margin"}
_BUDGETS = ("0.01", "0.03", "0.1")

# λ: accuracy on clean and FGSM images at ε = 0.3, in percent, as printed.
PAPER_2 = {
    50.0: ("98.63 ± 0.11", "29.92 ± 14.24"),
    25.0: ("98.67 ± 0.05", "25.76 ± 11.96"),
    10.0: ("98.57 ± 0.06", "18.24 ± 9.97"),
    1.0: ("98.55 ± 0.05", "19.99 ± 5.63"),
    0.1: ("98.60 ± 0.08", "13.66 ± 6.64"),
}
# (ε, λ): adversarial training without and with the penalty.
PAPER_3 = {
    (0.05, 0.0): ("98.98 ± 0.06", "96.26 ± 0.22"),
    (0.05, 10.0): ("98.79 ± 0.04", "96.36 ± 0.11"),
    (0.1, 0.0): ("98.68 ± 0.06", "93.56 ± 0.47"),
    (0.1, 10.0): ("98.87 ± 0.07", "94.56 ± 0.16"),
    (0.2, 0.0): ("98.59 ± 0.07", "93.24 ± 0.48"),
    (0.2, 10.0): ("98.69 ± 0.09", "93.73 ± 0.75"),
    (0.3, 0.0): ("98.48 ± 0.1", "95.52 ± 0.74"),
    (0.3, 10.0): ("98.42 ± 0.08", "96.62 ± 0.51"),
}
# λ, at ε = 0.3.
PAPER_4 = {
    0.0: ("98.48 ± 0.10", "95.52 ± 0.74"),
    10.0: ("98.42 ± 0.08", "96.62 ± 0.51"),
    50.0: ("98.49 ± 0.06", "97.25 ± 0.05"),
    100.0: ("98.59 ± 0.10", "96.88 ± 0.51"),
    200.0: ("98.60 ± 0.11", "96.71 ± 0.19"),
    1000.0: ("98.62 ± 0.07", "94.65 ± 0.79"),
}


@dataclasses.dataclass(frozen=True)
class Setting:
    """One line of a table: all its seeds together.

    Attributes:
        epsilon: of the adversarial images in training; None for none.
        printed_weight: λ as printed.
        form: of the penalty.
    """

    epsilon: float | None
    printed_weight: float
    form: str

    @property
    def name(self):
        adversarial = "clean" if self.epsilon is None else f"eps{self.epsilon:g}"
        return f"{_MODEL}-{adversarial}-{self.form}-{self.printed_weight:g}"

    @property
    def weight(self):
        """λ for a sum over the entries: as printed, it is for their mean.

        With the printed λ on the sum of equation 3, a network learns nothing but to be constant.
        """
        entries = _PIXELS * (_CLASSES if self.form == "full" else 1)
        return self.printed_weight / entries

    @property
    def attack_epsilon(self):
        return 0.3 if self.epsilon is None else self.epsilon


_SECOND = {Setting(None, weight, "full"): printed for weight, printed in PAPER_2.items()}
_THIRD = {Setting(eps, weight, "summed"): printed for (eps, weight), printed in PAPER_3.items()}
_FOURTH = {Setting(0.3, weight, "summed"): printed for weight, printed in PAPER_4.items()}
#: In the order they are trained, each once.
ROWS = list(dict.fromkeys([*_FOURTH, *_SECOND, *_THIRD]))


def stopping_rule():
    """The paper's: after epoch 10, stop when accuracy on validation images stops rising."""
    return keras.callbacks.EarlyStopping(
        monitor="val_accuracy", mode="max", min_delta=1e-4, patience=1, start_from_epoch=10
    )


def measure(setting, seed, train, test, epochs=None, verbose=0):
    """Train one network and measure what the tables say of it.

    Args:
        setting: :class:`Setting`.
        seed: of weights and batches.
        train, test: :class:`zoo.data.ImageSet`; the last 5,000 training images, or a tenth
            of fewer, are for validation.
        epochs: at most; None for those in :data:`EPOCHS`.

    Returns:
        Dictionary, ready for JSON.
    """
    keras.utils.set_random_seed(seed)
    network = {
        "name": _MODEL,
        "image_shape": train.images.shape[1:],
        "num_classes": train.num_classes,
    }
    model = DoubleBackpropNet(network, setting.weight, form=setting.form, epsilon=setting.epsilon)
    model.compile(keras.optimizers.Adam(1e-3, epsilon=1e-8))
    held_out = min(_VALIDATION, len(train) // 10)
    start = time.perf_counter()
    history = model.fit(
        *floats(train.take(len(train) - held_out)),
        validation_data=floats(train.take(len(train) - held_out, len(train))),
        batch_size=128,
        epochs=epochs or EPOCHS[setting.form],
        verbose=verbose,
        callbacks=[stopping_rule()],
    ).history
    seconds = time.perf_counter() - start
    x, y = floats(test)
    eps = setting.attack_epsilon

    def left(count, attack, **params):
        x_adv = model.attack(x[:count], y[:count], attack, eps=eps, norm="linf", **params)
        return float((np.argmax(model.logits(x_adv), axis=1) == y[:count]).mean())

    certificate = model.certify(x[:_CERTIFIED], norm="linf")
    return {
        "epochs": len(history["loss"]),
        "seconds": round(seconds),
        "hardware": hardware(),
        "n": len(y),
        "clean": float((np.argmax(model.logits(x), axis=1) == y).mean()),
        "fgsm": left(len(x), "fgsm", loss="cross_entropy"),
        "pgd": left(_ATTACKED, "pgd", **_PGD),
        "certified": {b: certificate.accuracy(y[:_CERTIFIED], b) for b in _BUDGETS},
        "median radius": float(np.median(certificate.radius)),
        "slopes": {
            form: float(np.mean(JacobianL1(form)(model.network, x[:_SLOPES])))
            for form in ("full", "summed")
        },
    }


def run(runs, rows=tuple(ROWS), seeds=SEEDS, epochs=None, data_file=None, results=RESULTS,
        verbose=1):  # fmt: skip
    """Train and measure what has no result yet; each network is kept as soon as it is there.

    Args:
        runs: not used: these networks are small, and only their measurements are kept.
        rows: list of :class:`Setting`.
        seeds: of each.
        epochs: at most, of each training; None for those in :data:`EPOCHS`.
        data_file: an ``.npz`` file in place of MNIST.
        results: JSON file that the tables are made from.
    """
    train, test = (data.load(data_file or "mnist", part) for part in ("train", "test"))
    # A seed at a time: the tables are whole after the first.
    pairs = [(row, seed) for seed in seeds for row in rows]
    fill(
        results,
        [
            (_key(row, seed), functools.partial(measure, row, seed, train, test, epochs))
            for row, seed in pairs
        ],
        verbose,
    )


def tables(results=RESULTS):
    """The tables as ``{title, caption, text, rows}``; ``text`` names the text columns."""
    found = read(results)
    caption = (
        "Model C, MNIST, mean ± standard deviation over the seeds. λ is taken for the mean over "
        "the entries of the gradients. FGSM: all test images. PGD: 40 steps of 0.01, "
        f"margin loss, first {_ATTACKED} test images. Certified: CROWN, ℓ∞, first {_CERTIFIED}. "
        "Slopes: the penalty's two forms, as sums, on clean images."
    )
    return [
        {
            "title": title,
            "caption": caption,
            "text": ["training", "trained"],
            "rows": [_row(setting, printed, found) for setting, printed in settings.items()],
        }
        for title, settings in (
            ("Table 2: penalty alone, full form; attacks at ε = 0.3, %", _SECOND),
            ("Table 3: adversarial training, summed form; attacks at its own ε, %", _THIRD),
            ("Table 4: adversarial training at ε = 0.3, summed form, %", _FOURTH),
        )
    ]


def _row(setting, printed, found):
    runs = [found[_key(setting, seed)] for seed in SEEDS if _key(setting, seed) in found]
    adversarial = "" if setting.epsilon is None else f"ε {setting.epsilon:g}, "
    row: dict[str, str | None] = {"training": f"{adversarial}λ {setting.printed_weight:g}"}
    row["paper: clean"], row["paper: FGSM"] = printed
    for column in ("clean", "fgsm", "pgd"):
        row[f"our {column}"] = spread([100 * run[column] for run in runs])
    for eps in _BUDGETS:
        row[f"certified {eps}"] = spread([100 * run["certified"][eps] for run in runs])
    for form in ("full", "summed"):
        row[f"slopes, {form}"] = spread([run["slopes"][form] for run in runs])
    row["trained"] = "not trained: python -m training.tables double-backprop --train"
    if runs:
        seconds = round(np.mean([run["seconds"] for run in runs]))
        epochs = "–".join(map(str, sorted({run["epochs"] for run in runs})))
        noun = "epoch" if epochs == "1" else "epochs"
        row["trained"] = f"{len(runs)} seeds, {epochs} {noun}, {seconds} s each"
    return row


def _key(setting, seed):
    return f"{setting.name}-seed{seed}"
