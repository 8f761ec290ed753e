"""The model card of a checkpoint, with the Hub's evaluation-result metadata."""

import pathlib
import statistics
from typing import Any

from zoo.data.registry import DATASETS
from zoo.epsilon import Epsilon
from zoo.hub.checkpoint import CARD, PICTURE
from zoo.hub.curve import ByClass, Curve, curve_of
from zoo.hub.records import AttackResult, CertifiedResult, NearestFlips, Record, Seeds
from zoo.papers import Paper, paper_of
from zoo.project import DOCUMENTATION, INDEX, REPOSITORY, approach_page, source_page
from zoo.typing import Path
from zoo.utils.whole_file import write_whole

#: What every card says about the guarantee.
LIMITS = """
The guarantee is about perturbations of one norm, added to the image the model is given. It says
nothing about other changes, about images unlike the training data, or about whether the unperturbed
prediction is right.
"""

# Names of the image sets on the Hub.
_ON_HUB = {
    "cifar10": "uoft-cs/cifar10",
    "fashion-mnist": "zalando-datasets/fashion_mnist",
    "mnist": "ylecun/mnist",
    "svhn": "ufldl-stanford/svhn",
}

# How a norm measures a change of an image.
_SIZES = {
    "linf": "here the largest change of one value",
    "l2": "here the square root of the sum of the squared changes",
}

_TEXT = """
# {name}

This model was trained on {dataset} with [certified-zoo]({index}). Approach and network:
{architecture}, {parameters:,} parameters.
Its predictions come with a proof: no image in [0, 1] within the certified radius ({norm} norm) of the
given one is classified differently.
{picture}
```python
import zoo                               # pip install certified-zoo

model = zoo.load("{name}")
certificate = model.certify(images)      # images in [0, 1], (n, height, width, channels)
certificate.prediction, certificate.radius
```

[Documentation]({docs}) · [recipe]({recipe_page}) · {paper_link}[all models]({models})

## Results

{n} test images; clean accuracy {clean:.2%}. `eps` is the budget, the largest change of an image with
values in [0, 1] that is considered, {size}. The columns beside it
are the accuracies under [attacks]({attacks}) and the
certified accuracy.

| eps ({norm}) | {attack_names} | certified | 95 % interval |
|---|{dashes}---|---|
{rows}

The certified accuracy is a lower bound of the accuracy under any attack of that budget. The attacked
accuracy is an upper bound for the images that were attacked, which may be fewer: see below. The
interval (Wilson) is that of the certified accuracy, for {n} images.
Certificate: {method}. {nearest}{seeds}

{attack_parameters}
{by_class}
## Intended use and limits

The model is meant for research and teaching about certified robustness: as a baseline, as a target
for attacks, and as a start for fine-tuning. It was trained on the small images of {dataset} alone.
It is no safeguard of a real system by itself.
{limits}
The proof holds for the model as float32 computes it by sums of products in any order. It does not
hold for convolutions by Winograd's or Fourier's transform, which a GPU's library may choose.

## Reproduce

```bash
git clone {repository}
cd {folder}
pip install -e {package}
{environment}python -m training {recipe} --measure{minutes}
```

The last command trains and measures the model; another machine gives slightly different weights.
The command replaces the weights, this card and the model's entry in the catalog of your clone. The
shipped weights can be measured again without training, which replaces the card and the entry:

```bash
python -m training {recipe} --certify    # certifies the test images, and draws the curve
python -m training {recipe} --attacks    # attacks them, as the recipe says
zoo evaluate {name} --n {images_measured} --eps {budgets} --attacks none    # needs no repository
```

The shipped weights were trained for {epochs} epochs on {images:,} images with seed {seed}, in
{seconds:,.0f} s on {hardware}, with the {backend} backend. {notes}

## Licence and citation

Weights and code: {license}. If you use them, please cite the paper whose method this is:

> {paper}
{bibtex}{images_of}"""


def card(record: Record, folder: Path | None = None) -> str:
    """The model card as text.

    Args:
        record: :class:`zoo.hub.records.Record` of the checkpoint.
        folder: folder of the checkpoint, which may hold a certified-accuracy curve; None for the
            one that ships with the package.

    Returns:
        Markdown with YAML metadata, for a checkpoint's ``README.md``.

    Examples:
        >>> import zoo
        >>> from zoo.hub.card import card
        >>> "# linf-dist-digits" in card(zoo.info("linf-dist-digits"))
        True
    """
    metrics, norm, run = record.metrics, record.norm, record.training
    certified = _certified(record)
    attacks = list(dict.fromkeys(r.attack for r in metrics.attacked))
    attacked = {(r.eps, r.attack): r for r in metrics.attacked}
    curve = curve_of(record, folder)
    lines = [
        [
            r.eps,
            *(
                f"{attacked[r.eps, attack].accuracy:.2%}" if (r.eps, attack) in attacked else "–"
                for attack in attacks
            ),
        ]
        for r in certified
    ]
    rows = "\n".join(
        f"| {' | '.join(line)} | {r.accuracy:.2%} | {_interval(r)} |"
        for line, r in zip(lines, certified, strict=True)
    )
    paper = paper_of(record.paper)
    text = _TEXT.format(
        name=record.name,
        architecture=record.architecture,
        parameters=record.parameters,
        dataset=record.dataset,
        norm=norm,
        size=_SIZES[norm],
        license=record.license,
        images_of=_images(record.dataset),
        paper=record.paper,
        notes=record.notes,
        epochs=run.epochs,
        images=run.images,
        seed=run.seed,
        seconds=run.seconds,
        hardware=run.hardware,
        backend=run.backend,
        recipe=run.recipe,
        package="." if run.backend == "tensorflow" else f"'.[{run.backend}]'",
        environment="" if run.backend == "tensorflow" else f"KERAS_BACKEND={run.backend} ",
        minutes="" if run.minutes is None else f" --minutes {run.minutes:g}",
        repository=REPOSITORY,
        folder=REPOSITORY.rpartition("/")[2],
        n=f"{metrics.n:,}",
        images_measured=metrics.n,
        budgets=" ".join(r.eps for r in certified),
        clean=metrics.clean,
        rows=rows,
        method=certified[0].method,
        index=INDEX,
        limits=LIMITS,
        attacks=f"{DOCUMENTATION}attacks/",
        attack_names=" | ".join(attacks),
        dashes="---|" * len(attacks),
        nearest=_nearest(metrics.nearest),
        seeds=_seeds(metrics.seeds, norm),
        attack_parameters="\n".join(
            _settings(attack, metrics.attacked, metrics.n) for attack in attacks
        ),
        picture=_picture(curve),
        by_class="" if curve is None else _by_class(curve, record.dataset),
        docs=approach_page(record.approach),
        recipe_page=source_page(f"training/recipes/{run.recipe}.toml"),
        models=source_page("MODELS.md"),
        paper_link=f"[paper]({paper.address}) · " if paper else "",
        bibtex=_bibtex(paper),
    )
    return f"---\n{_metadata(record).to_yaml()}\n---\n{text}"


def write_card(record: Record, folder: Path) -> None:
    """Write the card of a checkpoint, and the picture of its curve, into its folder.

    Args:
        record: :class:`zoo.hub.records.Record` of the checkpoint.
        folder: folder of the checkpoint. If it holds the checkpoint's certified-accuracy curve, the
            picture is drawn; otherwise a picture in it is removed.
    """
    from zoo.hub import picture

    curve = curve_of(record, folder)
    if curve is None:
        pathlib.Path(folder, PICTURE).unlink(missing_ok=True)
    else:
        picture.draw(record, curve, pathlib.Path(folder, PICTURE))
    write_whole(pathlib.Path(folder, CARD), card(record, folder))


def _metadata(record: Record) -> Any:
    """The metadata of the card: a ``huggingface_hub.ModelCardData``."""
    from huggingface_hub import EvalResult, ModelCardData

    on_hub = _ON_HUB.get(record.dataset)

    def result(metric: str, value: float) -> EvalResult:
        return EvalResult(
            task_type="image-classification",
            task_name="Image classification",
            dataset_type=on_hub or record.dataset,
            dataset_name=record.dataset,
            dataset_split=record.metrics.split,
            metric_type="accuracy",
            metric_name=metric,
            metric_value=value,
        )

    attacked = {(r.eps, r.attack): r for r in record.metrics.attacked}
    return ModelCardData(
        model_name=record.name,
        license=record.license,
        library_name="keras",
        pipeline_tag="image-classification",
        tags=["certified-robustness", "adversarial-robustness", record.approach],
        datasets=[on_hub] if on_hub else None,
        metrics=["accuracy"],
        eval_results=[
            result("clean accuracy", record.metrics.clean),
            *(
                result(f"certified accuracy, {record.norm} eps {r.eps}", r.accuracy)
                for r in _certified(record)
            ),
            *(
                result(f"accuracy under {r.attack}, {record.norm} eps {r.eps}", r.accuracy)
                for r in attacked.values()
            ),
        ],
    )


def _certified(record: Record) -> list[CertifiedResult]:
    """The results of the tightest certificate."""
    tightest = record.metrics.certified[0].method
    return [r for r in record.metrics.certified if (r.norm, r.method) == (record.norm, tightest)]


def _picture(curve: Curve | None) -> str:
    if curve is None:
        return ""
    return (
        f"\n![Certified accuracy over the perturbation budget, on {curve.n:,} test images, and the "
        f"accuracy under the strongest attack tried]({PICTURE})\n"
    )


def _by_class(curve: Curve, dataset: str) -> str:
    """The table of accuracies by class, or an empty text if there are too many classes."""
    counts: ByClass | None = curve.by_class
    if counts is None:
        return ""
    known = DATASETS.get(dataset)
    numbers = [str(number) for number in range(len(counts.n))]
    names = list(known.class_names or numbers) if known is not None else numbers
    names = names if len(names) == len(numbers) else numbers
    rows = [
        f"| {name} | {n:,} | {_share(clean, n)} | {_share(certified, n)} |"
        for name, n, clean, certified in zip(
            names, counts.n, counts.clean, counts.certified, strict=True
        )
    ]
    head = f"| class | images | clean | certified, eps {counts.eps} |\n|---|---|---|---|"
    clean, certified = (_balanced(number, counts.n) for number in (counts.clean, counts.certified))
    rows.append(
        f"| mean of the classes (balanced accuracy) | {sum(counts.n):,} | {clean} | {certified} |"
    )
    text = "\n".join(["\nBy class:\n", head, *rows, ""])
    if len(counts.n) == 2:
        text += (
            f"\nIn each column, the accuracy on the images of {names[1]} is the sensitivity, and that "
            f"on the images of {names[0]} is the specificity.\n"
        )
    return text


def _balanced(numbers: list[int], of: list[int]) -> str:
    shares = [number / n for number, n in zip(numbers, of, strict=True) if n]
    return f"{statistics.mean(shares):.1%}"


def _share(count: int, n: int) -> str:
    return f"{count / n:.1%}" if n else "–"


def _bibtex(paper: Paper | None) -> str:
    return f"\n```bibtex\n{paper.bibtex}\n```\n" if paper else ""


def _images(name: str) -> str:
    """A paragraph about where an image set comes from; empty if the registry does not say."""
    dataset = DATASETS.get(name)
    if dataset is None or not dataset.source:
        return ""
    return (
        f"\nThe images of {name} are not part of this repository. They come from "
        f"{dataset.source} (licence: {dataset.license}):\n\n> {dataset.citation}\n"
    )


def _settings(attack: str, results: list[AttackResult], n: int) -> str:
    """The parameters of an attack as an item of a list, beside certificates of n images."""
    result = next(result for result in results if result.attack == attack)
    parameters = ", ".join(f"{name} {value}" for name, value in result.parameters.items())
    text = f"* Attack {attack}: {parameters}" if parameters else f"* Attack {attack}"
    if result.spares_certified:
        text += "; it left out the images that are certified at the budget"
    if result.n < n:
        text += f"; only the first {result.n:,} images were attacked"
    return f"{text}."


def _interval(result: CertifiedResult) -> str:
    low, high = result.interval
    return f"{low:.2%} to {high:.2%}"


def _seeds(seeds: Seeds | None, norm: str) -> str:
    if seeds is None:
        return ""
    rows = [
        f"| {'clean' if float(Epsilon(spread.eps)) == 0 else f'certified, {norm} {spread.eps}'} "
        f"| {spread.mean:.2%} | {spread.sd:.2%} |"
        for spread in seeds.accuracies
    ]
    return "\n".join(
        [
            f"\n\nTrainings with the seeds {', '.join(map(str, seeds.seeds))}:\n",
            "| accuracy | mean | standard deviation |",
            "|---|---|---|",
            *rows,
        ]
    )


def _nearest(nearest: NearestFlips | None) -> str:
    if nearest is None:
        return ""
    if nearest.median is None:
        return (
            f"Of the first {nearest.n} test images, no median of the distance of the nearest known "
            "flip over the certified radius can be given."
        )
    return (
        f"On the first {nearest.n} test images, the nearest image known to be classified otherwise "
        f"is {nearest.median:.2f} times as far away as the certified radius (median)."
    )
