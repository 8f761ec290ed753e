"""Tables 1, 2 and 4 of Zhang et al., ICML 2021 (ℓ∞-dist nets)."""

import numpy as np

from training import recipe as recipes
from zoo.hub import catalog

_NET, _MLP = "ℓ∞-dist Net", "ℓ∞-dist Net+MLP"
_OTHER = "another approach"
_TINY = "no recipe: TinyImageNet is not among the data sets"
_CIFAR = "CIFAR-10 (8/255)"

# Method, multiply-adds in millions, clean, PGD, certified accuracy in percent, as printed.
_TABLE_1 = {
    ("MNIST (0.3)", "mnist", "0.3"): [
        ("Group Sort", 2.9, 97.0, 34.0, 2.0),
        ("COLT", 4.9, 97.3, None, 85.7),
        ("IBP", 114.0, 97.88, 93.22, 91.79),
        ("CROWN-IBP", 114.0, 98.18, 93.95, 92.98),
        (_NET, 82.7, 98.54, 94.71, 92.64),
        (_MLP, 85.3, 98.56, 95.28, 93.09),
    ],
    ("Fashion-MNIST (0.1)", "fashion-mnist", "0.1"): [
        ("CAP", 0.41, 78.27, 68.37, 65.47),
        ("IBP", 114.0, 84.12, 80.58, 77.67),
        ("CROWN-IBP", 114.0, 84.31, 80.22, 78.01),
        (_NET, 82.7, 87.91, 79.64, 77.48),
        (_MLP, 85.3, 87.91, 80.89, 79.23),
    ],
    (_CIFAR, "cifar10", "8/255"): [
        ("PVT", 2.4, 48.64, 32.72, 26.67),
        ("DiffAI", 96.3, 40.2, None, 23.2),
        ("COLT", 6.9, 51.7, None, 27.5),
        ("IBP", 151.0, 50.99, 31.27, 29.19),
        ("CROWN-IBP", 151.0, 45.98, 34.58, 33.06),
        ("CROWN-IBP (loss fusion)", 151.0, 46.29, 35.69, 33.38),
        (_NET, 121.0, 56.80, 37.46, 33.30),
        (_MLP, 123.0, 50.80, 37.06, 35.42),
    ],
}
_TABLE_2 = [
    ("CROWN-IBP (loss fusion), CNN7+BN", 458.0, 21.58, 19.04, 12.69),
    ("CROWN-IBP (loss fusion), ResNeXt", 64.0, 21.42, 20.20, 13.05),
    ("CROWN-IBP (loss fusion), DenseNet", 575.0, 22.04, 19.48, 14.56),
    ("CROWN-IBP (loss fusion), WideResNet", 5220.0, 27.86, 20.52, 15.86),
    (_MLP, 156.0, 21.82, 18.09, 16.31),
]
_TABLE_4 = [
    ("IBP", 17.4),
    ("CROWN-IBP", 112.4),
    ("CROWN-IBP (loss fusion)", 43.3),
    (_NET, 19.7),
    (_MLP, 19.7),
]
_QUALIFIER = {_NET: "linf-dist", _MLP: "linf-dist-mlp"}


def tables():
    """Tables 1, 2 and 4 as ``{title, caption, text, rows}``; ``text`` names the text columns."""
    records = {record.name: record for record in catalog.list_models()}
    seconds = (
        "Seconds per epoch of the zoo's checkpoints on the hardware in their manifest entries, "
        "with a narrower network than the paper's."
    )
    return [
        _table(
            "Table 1: clean, PGD and certified accuracy, %",
            "Every number of the zoo: 10,000 test images, PGD with 20 steps and 3 restarts of the "
            f"margin loss. FLOPs: multiply-adds per image. {seconds}",
            [
                _row(records, data, method, paper, _QUALIFIER.get(method), dataset, eps)
                for (data, dataset, eps), methods in _TABLE_1.items()
                for method, *paper in methods
            ],
        ),
        _table(
            "Table 2: TinyImageNet (1/255), %",
            "",
            [
                _row(records, "TinyImageNet (1/255)", method, paper, None, None, None, why)
                for method, *paper in _TABLE_2
                for why in [_TINY if method == _MLP else _OTHER]
            ],
        ),
        _table(
            "Table 4: seconds per epoch on CIFAR-10",
            f"The paper's on its GPU. {seconds}",
            [_speed(records, method, paper) for method, paper in _TABLE_4],
        ),
    ]


def _table(title, caption, rows):
    text = [column for column in ("data set", "method", "checkpoint") if column in rows[0]]
    return {"title": title, "caption": caption, "text": text, "rows": rows}


def _row(records, data, method, paper, qualifier, dataset, eps, why=_OTHER):
    """One row: the paper's four numbers, and the zoo's own five or the reason for none."""
    row = {"data set": data, "method": method}
    row.update(zip(("FLOPs M", "clean", "PGD", "certified"), paper, strict=True))
    names = [f"{qualifier}-{dataset}-full", f"{qualifier}-{dataset}"] if qualifier else []
    shipped = [name for name in names if name in records]
    own: dict[str, float | None] = dict.fromkeys(
        ("our FLOPs M", "our clean", "our PGD", "our certified", "s/epoch")
    )
    if shipped:
        own.update(_measured(records[shipped[0]], eps))
        why = shipped[0]
    elif names:
        why = f"not trained: python -m training {names[-1]} --measure"
    return {**row, **own, "checkpoint": why}


def _measured(record, eps):
    certified = [result.accuracy for result in record.metrics.certified if result.eps == eps]
    attacked = [result.accuracy for result in record.metrics.attacked if result.eps == eps]
    return {
        "our FLOPs M": multiply_adds(record.training.recipe),
        "our clean": _percent(record.metrics.clean),
        "our PGD": _percent(min(attacked)) if attacked else None,
        "our certified": _percent(max(certified)) if certified else None,
        "s/epoch": _seconds(record),
    }


def _speed(records, method, paper):
    name = f"{_QUALIFIER.get(method)}-cifar10"
    record = records.get(name)
    why = name if record else f"not trained: python -m training {name} --measure"
    return {
        "method": method,
        "s/epoch": paper,
        "our s/epoch": _seconds(record) if record else None,
        "our hardware": record.training.hardware if record else None,
        "checkpoint": why if method in _QUALIFIER else _OTHER,
    }


def multiply_adds(recipe):
    """Millions of (input, unit) pairs that one image meets in the network of a recipe."""
    model = recipes.load(recipe)["model"]
    classes, width, depth = model["num_classes"], model["width"], model["depth"]
    sizes = [int(np.prod(model["image_shape"]))]
    if model["class"] == "LinfDistMLP":
        sizes += [width] * depth + [model.get("hidden_units", 512), classes]
    else:
        sizes += [width] * (depth - 1) + [classes]
    return round(sum(a * b for a, b in zip(sizes, sizes[1:], strict=False)) / 1e6, 2)


def _seconds(record):
    return round(record.training.seconds / record.training.epochs, 1)


def _percent(accuracy):
    return round(100 * accuracy, 2)
