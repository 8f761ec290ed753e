"""The tables of the paper on second-order defences, with every class counted beside the runner-up.

The paper certifies against the runner-up alone, which proves nothing about the other classes: its
protocol stands here in columns of its own.
"""

import dataclasses
import functools
import pathlib
import time

import keras
import numpy as np

import zoo
from training.hardware import hardware
from training.tables.results import fill, floats, read
from zoo import data
from zoo.bounds.curvature import SmoothNetwork
from zoo.certificates.curvature import radii
from zoo.hub import catalog
from zoo.models import CurvatureNet

RESULTS = pathlib.Path(__file__).with_name("second-order.json")

_BATCH, _RATE, _SEED = 128, 4e-3, 0
# The first images of the test set: linear relaxation and local bounds take their time.
_CERTIFIED, _RELAXED, _LOCAL = 200, 10, 10
# ρ of the tables on how tight the dual is, and of the convolution.
_RHO = 0.5


@dataclasses.dataclass(frozen=True)
class Setting:
    """One network of the tables.

    Attributes:
        network: ``"2"``, ``"3"``, ``"4"`` (layers of 1,024 units but the last) or ``"conv"``.
        activation: as in :mod:`zoo.models.curvature_networks`.
        epsilon: L2 radius of the worst points trained on; None for the images themselves.
        penalty_weight: γ.
        epochs: of the training.
    """

    network: str
    activation: str
    epsilon: float | None
    penalty_weight: float
    epochs: int

    @property
    def name(self):
        trained = "images" if self.epsilon is None else f"rho{self.epsilon:g}"
        return f"{self.network}-{self.activation}-{trained}-gamma{self.penalty_weight:g}"

    def build(self, image_shape, num_classes):
        """The model, untrained."""
        shapes = {"image_shape": image_shape, "num_classes": num_classes}
        network = {"name": "convnet", "activation": self.activation, **shapes}
        if self.network != "conv":
            hidden = [1024] * (int(self.network) - 1)
            network |= {"name": "mlp", "hidden": hidden}
        return CurvatureNet(network, self.epsilon, penalty_weight=self.penalty_weight)


def _sigmoid(layers, epsilon, penalty_weight):
    epochs = {"2": 2, "3": 1, "4": 1}[layers]
    return Setting(layers, "sigmoid", epsilon, penalty_weight, epochs)


# Checkpoint: γ, and standard and certified accuracy at ρ = 1.58, in percent, as printed.
CERTIFIED = {
    "crt-mnist": (0.01, 98.68, 69.79),
    "crt-3-mnist": (0.05, 97.43, 57.78),
    "crt-4-mnist": (0.07, 95.60, 53.19),
}
# Setting: mean certificates by CROWN and by CRC. How ρ is set in "CRT" is not printed.
MEAN = {
    _sigmoid("2", None, 0.0): (0.28395, 0.48500),
    _sigmoid("2", None, 0.01): (0.32548, 0.84719),
    _sigmoid("2", _RHO, 0.01): (0.43061, 1.54673),
    _sigmoid("3", None, 0.0): (0.24644, 0.06874),
    _sigmoid("3", None, 0.01): (0.39799, 1.07842),
    _sigmoid("3", _RHO, 0.01): (0.39603, 1.24100),
    _sigmoid("4", None, 0.0): (0.19501, 0.00454),
    _sigmoid("4", None, 0.01): (0.40620, 1.05323),
    _sigmoid("4", _RHO, 0.01): (0.40327, 1.06208),
}
# Setting: accuracy, certificate success and attack success, in percent.
TIGHT = {
    _sigmoid("2", None, 0.0): (98.77, 2.24, 5.05),
    _sigmoid("2", None, 0.03): (98.30, 44.17, 100.0),
    _sigmoid("3", None, 0.0): (98.52, 0.12, 0.0),
    _sigmoid("3", None, 0.05): (97.60, 22.59, 100.0),
    _sigmoid("4", None, 0.0): (98.22, 0.01, 0.0),
    _sigmoid("4", None, 0.07): (95.24, 19.53, 100.0),
}
# Setting: mean certificates from global and from local bounds.
LOCAL = {
    _sigmoid("2", None, 0.0): (0.5013, 0.5847),
    _sigmoid("2", _RHO, 0.0): (1.0011, 1.1741),
    _sigmoid("2", _RHO, 0.01): (1.5705, 1.6047),
    _sigmoid("2", _RHO, 0.02): (1.6720, 1.6831),
}
# Setting: standard and certified accuracy at ρ = 0.5, mean certificates by CNN-Cert and CRC.
CONVOLUTION = {
    Setting("conv", "tanh", _RHO, gamma, 2): printed
    for gamma, printed in {
        0.0: (98.35, 0.0, 0.1503, 0.1770),
        0.01: (94.85, 75.26, 0.2135, 0.8427),
        0.02: (93.18, 74.42, 0.2378, 0.9048),
        0.03: (91.97, 72.89, 0.2547, 0.9162),
    }.items()
}

# Columns of the tables: which of the printed numbers, or which of a run's.
_CERTIFIED_COLUMNS = {
    "paper: γ": 0,
    "paper: clean": 1,
    "paper: certified, runner-up": 2,
    "our γ": "penalty weight",
    "our clean": "clean",
    "CRC, runner-up": "certified runner-up",
    "CRC": "certified",
    "CROWN": "certified crown",
    "CRC of those": "certified of those",
}
_MEAN_COLUMNS = {
    "paper: CROWN": 0,
    "paper: CRC, runner-up": 1,
    "our clean, %": "clean",
    "CROWN": "mean crown",
    "CRC of those": "mean of those",
    "CRC, runner-up": "mean runner-up",
    "CRC": "mean",
}
_TIGHT_COLUMNS = {
    "paper: clean": 0,
    "paper: certificate, runner-up": 1,
    "paper: attack": 2,
    "our clean": "clean",
    "certificate, runner-up": "tight runner-up",
    "certificate": "tight",
    "attack": "attack solved",
}
_LOCAL_COLUMNS = {
    "paper: global, runner-up": 0,
    "paper: local, runner-up": 1,
    "our clean, %": "clean",
    "global": "mean global of those",
    "local": "mean local",
}
_CONVOLUTION_COLUMNS = {
    "paper: clean, %": 0,
    "paper: certified, runner-up, %": 1,
    "paper: CNN-Cert": 2,
    "paper: CRC, runner-up": 3,
    "our clean, %": "clean",
    "certified, runner-up, %": "certified runner-up",
    "certified, %": "certified",
    "CROWN": "mean crown",
    "CRC of those": "mean of those",
    "CRC, runner-up": "mean runner-up",
    "CRC": "mean",
}
# Shares of images are printed in percent, all else is a radius.
_SHARES = frozenset(
    ["clean", "certified", "certified runner-up", "certified crown", "certified of those"]
    + ["tight", "tight runner-up", "attack solved"]
)
#: All that are trained for the tables alone, the shallow ones first; each once.
ROWS = sorted(
    dict.fromkeys([*LOCAL, *MEAN, *TIGHT, *CONVOLUTION]),
    key=lambda setting: ("2", "conv", "3", "4").index(setting.network),
)


def train(setting, train, epochs=None, verbose=0):
    """``(model, seconds per epoch)`` of one training; the first epoch counts its compilation."""
    keras.utils.set_random_seed(_SEED)
    model = setting.build(train.images.shape[1:], train.num_classes)
    epochs = epochs or setting.epochs
    steps = epochs * -(-len(train) // _BATCH)
    model.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(_RATE, steps)))
    start = time.perf_counter()
    model.fit(*floats(train), batch_size=_BATCH, epochs=epochs, verbose=verbose)
    return model, (time.perf_counter() - start) / epochs


def measure(model, test, rho, local=False):
    """What the tables say of one network.

    Args:
        model: :class:`zoo.models.CurvatureNet`.
        test: :class:`zoo.data.ImageSet`.
        rho: L2 budget of accuracies and of the attack problem.
        local: whether to measure local curvature bounds too.

    Returns:
        Dictionary, ready for JSON.
    """
    x, y = floats(test)
    clean = float((np.argmax(model.logits(x), axis=1) == y).mean())
    x, y = x[:_CERTIFIED], y[:_CERTIFIED]
    logits = model.logits(x)
    predicted = np.argmax(logits, axis=1)
    start = time.perf_counter()
    curvature = model.curvature()
    bounds_seconds = time.perf_counter() - start
    smooth = SmoothNetwork(model.network)
    smooth.prepare()
    start = time.perf_counter()
    found = radii(smooth, curvature, x.reshape(len(x), -1), predicted)
    seconds = time.perf_counter() - start

    # The other classes are in order, without the predicted one.
    rivals = np.argsort(logits, axis=1)[:, -2]
    column = rivals - (rivals > predicted)
    rows = np.arange(len(x))
    runner_up = found.radius[rows, column]
    _, attacked = model.worst_points(x, predicted, rho)
    relaxed = zoo.certify(model.network, x[:_RELAXED], norm="l2", method="crown")
    every = found.radius.min(axis=1)
    held = (predicted == y) & (every > rho)
    result = {
        "penalty weight": model.penalty_weight,
        "n": len(test),
        "n certified": len(x),
        "clean": clean,
        "mean": float(every.mean()),
        "mean runner-up": float(runner_up.mean()),
        "certified": float(held.mean()),
        "certified runner-up": float(((predicted == y) & (runner_up > rho)).mean()),
        "tight": float(_tight(every, found.nearest.min(axis=1)).mean()),
        "tight runner-up": float(_tight(runner_up, found.nearest[rows, column]).mean()),
        "attack solved": float(attacked.mean()),
        "n crown": len(relaxed),
        "mean crown": float(relaxed.radius.mean()),
        "certified crown": relaxed.accuracy(y[:_RELAXED], rho),
        "certified of those": float(held[: len(relaxed)].mean()),
        "mean of those": float(every[: len(relaxed)].mean()),
        "largest curvature": float(curvature.upper.max()),
        "bounds seconds": round(bounds_seconds, 1),
        "milliseconds per image": round(1000 * seconds / len(x), 1),
    }
    if local:
        certificate = model.certify(x[:_LOCAL], method="curvature-local")
        result["n local"] = len(certificate)
        result["mean local"] = float(certificate.radius.mean())
        result["mean global of those"] = float(every[: len(certificate)].mean())
    return result


def _tight(radius, nearest):
    """Where upper and lower bound of the distance meet, to a hundredth."""
    return (radius > 0) & (nearest <= 1.01 * radius)


def run(runs, rows=tuple(ROWS), checkpoints=tuple(CERTIFIED), epochs=None, data_file=None,
        results=RESULTS, verbose=1):  # fmt: skip
    """Train and measure what has no result yet; each network is kept as soon as it is there.

    Args:
        runs: not used: these networks are for the tables, and only measurements are kept.
        rows: list of :class:`Setting`.
        checkpoints: names of models to measure as well, those that the catalog has.
        epochs: in place of each row's own.
        data_file: an ``.npz`` file in place of MNIST.
        results: JSON file that the tables are made from.
    """
    training, test = (data.load(data_file or "mnist", part) for part in ("train", "test"))
    known = {record.name for record in catalog.list_models()}

    def of_row(setting):
        model, seconds = train(setting, training, epochs)
        found = measure(model, test, _RHO, local=setting in LOCAL)
        own = {"epochs": epochs or setting.epochs, "seconds per epoch": round(seconds, 1)}
        return {**own, "hardware": hardware(), **found}

    def of_checkpoint(name):
        return {"hardware": hardware(), **measure(zoo.load(name), test, 1.58)}

    ready = [
        (name, functools.partial(of_checkpoint, name)) for name in checkpoints if name in known
    ]
    fill(results, [*ready, *((s.name, functools.partial(of_row, s)) for s in rows)], verbose)


def tables(results=RESULTS):
    """The tables as ``{title, caption, text, rows}``; ``text`` names the text columns."""
    found = read(results)
    measured = (
        f"Clean: 10,000 test images of MNIST. Certificates: L2, the first {_CERTIFIED}, against "
        "all classes but where it says runner-up: the second largest logit alone, as in the "
        "paper, which proves nothing about the others. Seed 0."
    )
    crown = measured + (
        f" CROWN, its balls cut off at [0, 1], and CRC of those: the first {_RELAXED}."
    )

    def table(title, caption, columns, settings):
        rows = []
        for key, printed in settings.items():
            run = found.get(key if isinstance(key, str) else key.name)
            cells = {name: _cell(source, printed, run) for name, source in columns.items()}
            rows.append({"network": _label(key), **cells, "trained": _trained(key, run)})
        return {"title": title, "caption": caption, "text": ["network", "trained"], "rows": rows}

    return [
        table("Certified accuracy at ρ = 1.58, %", crown, _CERTIFIED_COLUMNS, CERTIFIED),
        table("Mean certificates", crown, _MEAN_COLUMNS, MEAN),
        table(
            "How often primal equals dual, %",
            measured + " Certificate: an input of another class within 1.01 times the radius. "
            "Attack problem, for ρ = 0.5 and the strongest rival: the point found is on the "
            "sphere, stationary, and no point of the ball is worse.",
            _TIGHT_COLUMNS,
            TIGHT,
        ),
        table(
            "Local and global curvature bounds, mean certificates",
            f"Against all classes, the first {_LOCAL} test images; clean: 10,000. Seed 0.",
            _LOCAL_COLUMNS,
            LOCAL,
        ),
        table("One convolution, tanh, ρ = 0.5", crown, _CONVOLUTION_COLUMNS, CONVOLUTION),
    ]


def _label(key):
    if isinstance(key, str):
        return key
    layers = "convolution" if key.network == "conv" else f"{key.network} × 1024"
    how = "standard" if key.penalty_weight == 0 else f"γ {key.penalty_weight:g}"
    if key.epsilon is not None:
        how = f"CRT, γ {key.penalty_weight:g}"
    return f"{layers}, {key.activation}, {how}"


def _trained(key, run):
    if run is None:
        command = f"training {key} --measure" if isinstance(key, str) else "training.tables"
        suffix = ", then training.tables" if isinstance(key, str) else ""
        return f"not trained: python -m {command}{suffix} second-order --train"
    if isinstance(key, str):
        return "a checkpoint"
    noun = "epoch" if run["epochs"] == 1 else "epochs"
    return f"{run['epochs']} {noun}, {run['seconds per epoch']:g} s each"


def _cell(source, printed, run):
    """A number of the paper by its place, or one of our run by its key."""
    if isinstance(source, int):
        return printed[source]
    if run is None:
        return None
    return round(100 * run[source], 2) if source in _SHARES else round(run[source], 4)
