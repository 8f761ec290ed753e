"""Our bounds beside those of auto_LiRPA, on the same weights: ``python benchmarks/auto_lirpa.py``.

For each image both libraries bound the margin at the same budgets, by interval bounds and by CROWN,
in turns so that they meet the same load. The table gives the mean of the bounds and the
milliseconds of processor time for one image. auto_LiRPA and PyTorch are optional: without them the
script says so and ends.
"""

import argparse
import sys
import time

import keras
import numpy as np
from rich.console import Console
from rich.table import Table

import zoo
from training.hardware import hardware
from zoo.certificates.network_bounds import NetworkBounds
from zoo.ops.precision import double_precision

THEIRS = {"interval": "IBP", "crown": "CROWN"}


def networks():
    dense = [keras.Input((28, 28, 1)), keras.layers.Flatten()]
    convolutions = [
        keras.layers.Conv2D(16, 4, 2, activation="relu"),
        keras.layers.Conv2D(32, 4, 2, activation="relu"),
        keras.layers.Flatten(),
        keras.layers.Dense(100, activation="relu"),
    ]
    hidden = {
        "2 x 1024 ReLU": [*dense, *(keras.layers.Dense(1024, "relu") for _ in range(2))],
        "2 x 256 tanh": [*dense, *(keras.layers.Dense(256, "tanh") for _ in range(2))],
        "convolutions, ReLU": [keras.Input((28, 28, 1)), *convolutions],
    }
    return {
        name: keras.Sequential([*layers, keras.layers.Dense(10)]) for name, layers in hidden.items()
    }


def as_torch(model, torch):
    """The network in PyTorch, whose images have their channels first."""
    parts = []
    for layer in model.layers:
        if isinstance(layer, keras.layers.Flatten):
            parts += [_channels_last(torch), torch.nn.Flatten()]
            continue
        weights = [torch.from_numpy(np.array(weight)) for weight in layer.get_weights()]
        if isinstance(layer, keras.layers.Conv2D):
            size = layer.kernel.shape
            part = torch.nn.Conv2d(size[2], size[3], size[:2], layer.strides)
            weights[0] = weights[0].permute(3, 2, 0, 1)
        else:
            part = torch.nn.Linear(*layer.kernel.shape)
            weights[0] = weights[0].T
        part.weight.data, part.bias.data = weights[0].contiguous(), weights[1]
        parts.append(part)
        name = layer.activation.__name__
        if name != "linear":
            parts.append({"relu": torch.nn.ReLU, "tanh": torch.nn.Tanh}[name]())
    return torch.nn.Sequential(*parts)


def _channels_last(torch):
    class ChannelsLast(torch.nn.Module):
        def forward(self, x):
            return x.permute(0, 2, 3, 1)

    return ChannelsLast()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=8, help="number of test images")
    parser.add_argument("--eps", type=float, default=0.01, help="the budget, in linf")
    options = parser.parse_args()
    try:
        import auto_LiRPA
        import torch
    except (ImportError, OSError) as error:
        sys.exit(f"skipped, because auto_LiRPA or PyTorch cannot be imported: {error}")
    train, test = zoo.data.load("mnist", "train"), zoo.data.load("mnist", "test").take(options.n)
    x = test.images / np.float32(255)
    table = Table(title=f"n = {options.n}, eps = {options.eps}; {hardware()}")
    for column in ("network", "method", "our margin", "theirs", "our ms", "their ms"):
        table.add_column(column)
    for name, model in networks().items():
        keras.utils.set_random_seed(0)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile("adam", loss)
        model.fit(train.images / np.float32(255), train.labels, batch_size=128, verbose=0)
        classes = model.predict(x, verbose=0).argmax(axis=1)
        bounds = NetworkBounds(model)
        first = torch.from_numpy(x[:1].transpose(0, 3, 1, 2).copy())
        theirs = auto_LiRPA.BoundedModule(as_torch(model, torch), first)
        for method, other in THEIRS.items():
            margins, seconds = np.zeros((2, len(x))), np.zeros((2, len(x)))
            for i in range(-1, len(x)):  # the first turn is not counted: it compiles
                own_class = classes[max(i, 0)]
                start = time.process_time()
                with double_precision():
                    for rule in bounds.rules:
                        rule.prepare()
                    eps = np.array([options.eps])
                    own = bounds.margins(x[[max(i, 0)]], classes[[max(i, 0)]], eps,
                                         "linf", method)[0]  # fmt: skip
                middle = time.process_time()
                image = torch.from_numpy(x[max(i, 0)].transpose(2, 0, 1)[None].copy())
                ends = (image - options.eps).clamp(0, 1), (image + options.eps).clamp(0, 1)
                ball = auto_LiRPA.PerturbationLpNorm(norm=np.inf, x_L=ends[0], x_U=ends[1])
                others = [j for j in range(10) if j != own_class]
                rows = torch.eye(10)[own_class] - torch.eye(10)[others]
                bounded = auto_LiRPA.BoundedTensor(image, ball)
                lower, _ = theirs.compute_bounds(
                    x=(bounded,), C=rows[None], method=other, bound_upper=False
                )
                end = time.process_time()
                if i >= 0:
                    margins[:, i] = own, float(lower.min())
                    seconds[:, i] = middle - start, end - middle
            means = margins.mean(axis=1), 1e3 * seconds.mean(axis=1)
            cells = [f"{value:.4g}" for pair in means for value in pair]
            table.add_row(name, method, *cells)
    Console().print(table)


if __name__ == "__main__":
    main()
