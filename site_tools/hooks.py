"""Hooks for mkdocs, which insert tables of attacks and models, and the leaderboard."""

import dataclasses
import inspect
import pathlib

import zoo
from zoo.attacks import ATTACKS
from zoo.epsilon import Epsilon
from zoo.evaluation.leaderboard.page import page

_PLACE = "<!-- the tables of attacks: made from the registry when the site is built -->"
_SHOWN = {"linf": "ℓ∞", "l2": "L2", "tensorflow": "TensorFlow", "jax": "JAX"}
_MODELS = (
    "<!-- the table of models to choose from: made from the records when the site is built -->"
)


def on_page_markdown(markdown, **_):
    for place, table in ((_PLACE, attack_tables), (_MODELS, model_table)):
        if place in markdown:
            markdown = markdown.replace(place, table())
    return markdown


def on_post_build(config):
    """Put the leaderboard into the site."""
    folder = pathlib.Path(config.site_dir, "leaderboard")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "index.html").write_text(page(zoo.list_models()), encoding="utf-8")


def model_table():
    """A Markdown table: the best model of each approach, data set and norm."""
    rows = [
        ["images", "norm", "model", "clean", "certified", "cost", "training"],
        ["---", "---", "---", "---:", "---", "---:", "---:"],
    ]
    best = {}
    for record in zoo.list_models():
        if record.dataset == "digits":
            continue
        middle = budgets(record)[(len(budgets(record)) - 1) // 2]
        key = (record.dataset, record.norm, record.approach)
        best[key] = max(best.get(key, (-1.0, None)), (accuracy(record, middle), record.name))
    for _, name in best.values():
        record = zoo.info(name)
        shown = "<br>".join(f"{accuracy(record, eps):.1%} at {eps}" for eps in budgets(record))
        cost, seconds = record.metrics.cost, record.training.seconds
        rows.append(
            [
                record.dataset,
                _SHOWN[record.norm],
                f"`{name}`",
                f"{record.metrics.clean:.1%}",
                shown,
                shown_cost(cost) if cost else "–",
                f"{seconds / 60:.0f} min" if seconds else "–",
            ]
        )
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def shown_cost(cost):
    """The time of a certificate for the first image, if it is known, and for each further one."""
    further = f"{cost.milliseconds:.3g} ms"
    return further if cost.first_seconds is None else f"{cost.first_seconds:.1f} s, then {further}"


def certified(record):
    """What is certified in the norm that the model is made for."""
    return [entry for entry in record.metrics.certified if entry.norm == record.norm]


def budgets(record):
    """The budgets at which a record has a certified accuracy, from small to large."""
    return sorted({entry.eps for entry in certified(record)}, key=lambda eps: float(Epsilon(eps)))


def accuracy(record, eps):
    """The highest certified accuracy of a record at a budget."""
    return max(entry.accuracy for entry in certified(record) if entry.eps == eps)


def attack_tables():
    """Markdown tables: the registered attacks, their parameters, and cleverhans' names for them."""
    attacks = [["attack", "class", "norms", "backends", "what it does"], ["---"] * 5]
    parameters = [["attack", "parameter", "default", "what it is"], ["---"] * 4]
    renamed = [["attack", "parameter", "in cleverhans, taken too"], ["---"] * 3]
    for name, kind in ATTACKS.items():
        summary = inspect.getdoc(kind).split("\n")[0].rstrip(".")
        limits = [", ".join(map(_SHOWN.get, names)) for names in (kind.norms, kind.backends)]
        attacks.append([f"`{name}`", f"`{kind.__name__}`", *limits, summary])
        parameters += [
            [f"`{name}`", f"`{field.name}`", f"`{field.default!r}`", field.metadata["help"]]
            for field in dataclasses.fields(kind)
        ]
        renamed += [
            [f"`{name}`", f"`{field.name}`", f"`{field.metadata['cleverhans']}`"]
            for field in dataclasses.fields(kind)
            if field.metadata.get("cleverhans")
        ]
    tables = (attacks, parameters, renamed)
    return "\n\n".join("\n".join(f"| {' | '.join(row)} |" for row in table) for table in tables)
