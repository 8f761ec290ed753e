"""The picture of a checkpoint's certified-accuracy curve, for its card."""

import io

from zoo.epsilon import Epsilon
from zoo.hub.curve import Curve
from zoo.hub.records import Record
from zoo.typing import Path
from zoo.utils.norms import SYMBOLS
from zoo.utils.whole_file import whole_file

# Budgets at which fewer than this fraction of the images is certified are out of sight.
_LEAST = 0.005


def draw(record: Record, curve: Curve, path: Path) -> None:
    """Draw certified accuracy over the budget, and the accuracies under attack, as a small PNG.

    Args:
        record: :class:`zoo.hub.records.Record` of the checkpoint.
        curve: its :class:`zoo.hub.curve.Curve`.
        path: the file, which is written completely or not at all.
    """
    from matplotlib.figure import Figure
    from PIL import Image

    budgets = [float(Epsilon(eps)) for eps in curve.budgets]
    certified = [100 * count / curve.n for count in curve.certified]
    clean = 100 * record.metrics.clean
    attacked: dict[float, float] = {}
    for result in record.metrics.attacked:
        budget = float(Epsilon(result.eps))
        attacked[budget] = min(attacked.get(budget, 100.0), 100 * result.accuracy)
    visible = [b for b, c in zip(budgets, certified, strict=True) if c >= 100 * _LEAST]
    reach = 1.08 * max([*visible, *attacked, 1e-9])

    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    ax = figure.add_subplot()
    # Between two budgets, the accuracy at the larger one holds.
    ax.step(budgets, certified, where="pre", color="#1f5fbf", linewidth=2, label="certified")
    ax.fill_between(budgets, certified, step="pre", color="#dfe9f8")
    ax.axhline(clean, linestyle=":", color="#5c6675", label=f"clean, {clean:.1f} %")
    if attacked:
        ax.plot(
            list(attacked),
            list(attacked.values()),
            "v",
            color="#d55e00",
            clip_on=False,
            label="strongest attack tried",
        )
    ax.set_xlim(0, reach)
    ax.set_ylim(0, 100)
    ax.set_xlabel(f"perturbation budget eps ({SYMBOLS[record.norm]})")
    ax.set_ylabel("accuracy, %")
    ax.set_title(f"{record.name}: {curve.n:,} test images of {record.dataset}", fontsize=10)
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(alpha=0.3)
    ax.legend(frameon=False, fontsize=9)
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=110)
    with whole_file(path) as file:  # 128 colours are enough, and take half of the space
        Image.open(drawn).convert("RGB").quantize(128).save(file, "PNG", optimize=True)
