"""The model card of a checkpoint, with the Hub's evaluation-result metadata."""

from zoo.data import DATASETS
from zoo.epsilon import Epsilon
from zoo.hub.records import AttackResult, CertifiedResult, NearestFlips, Record, Seeds
from zoo.project import INDEX

#: What every card says about the guarantee.
LIMITS = """
The guarantee is about perturbations of one norm, added to the image the model is given. It says
nothing about other changes, about images unlike the training data, or about whether the unperturbed
prediction is right.
"""

_TEXT = """
# {name}

{architecture}, {parameters:,} parameters, trained on {dataset} by [certified-zoo]({index}).
Its predictions come with a proof: no image in [0, 1] within the certified radius ({norm} norm) of the
given one is classified differently.

```python
import zoo

model = zoo.load("{name}")
certificate = model.certify(images)      # images in [0, 1], (n, height, width, channels)
certificate.prediction, certificate.radius
```

## Results

{n} test images; clean accuracy {clean:.2%}.

| eps ({norm}) | {attack_names} | certified | 95 % interval |
|---|{dashes}---|---|
{rows}

The certified number is a lower bound under any attack, the attacked one an upper bound. The interval
(Wilson) is that of the certified accuracy, for {n} images.
Certificate: {method}. {nearest}{seeds}

{attack_parameters}

## Training

{epochs} epochs on {images} images, seed {seed}, {seconds} s on {hardware}, {backend} backend; recipe
`{recipe}`. {notes}

## Limits
{limits}
## Licence and citation

Weights and code: {license}. If you use them, please cite the paper whose method this is:

> {paper}
{images_of}"""


def card(record: Record) -> str:
    """The model card as text.

    Args:
        record: :class:`zoo.hub.records.Record` of the checkpoint.

    Returns:
        Markdown with YAML metadata, for a checkpoint's ``README.md``.
    """
    from huggingface_hub import EvalResult, ModelCardData

    metrics, norm, run = record.metrics, record.norm, record.training
    method = metrics.certified[0].method
    certified = [r for r in metrics.certified if (r.norm, r.method) == (norm, method)]
    attacks = list(dict.fromkeys(r.attack for r in metrics.attacked))
    attacked = {(r.eps, r.attack): r for r in metrics.attacked}

    def result(metric: str, value: float) -> EvalResult:
        return EvalResult(
            task_type="image-classification",
            dataset_type=record.dataset,
            dataset_name=record.dataset,
            dataset_split=metrics.split,
            metric_type="accuracy",
            metric_name=metric,
            metric_value=value,
        )

    metadata = ModelCardData(
        model_name=record.name,
        license=record.license,
        library_name="keras",
        pipeline_tag="image-classification",
        tags=["certified-robustness", "adversarial-robustness", record.approach],
        eval_results=[
            result("clean accuracy", metrics.clean),
            *(result(f"certified accuracy, {norm} eps {r.eps}", r.accuracy) for r in certified),
            *(
                result(f"accuracy under {r.attack}, {norm} eps {r.eps}", r.accuracy)
                for r in attacked.values()
            ),
        ],
    )
    lines = [
        [r.eps, *(f"{attacked[r.eps, attack].accuracy:.2%}" for attack in attacks)]
        for r in certified
    ]
    rows = "\n".join(
        f"| {' | '.join(line)} | {r.accuracy:.2%} | {_interval(r)} |"
        for line, r in zip(lines, certified, strict=True)
    )
    text = _TEXT.format(
        name=record.name,
        architecture=record.architecture,
        parameters=record.parameters,
        dataset=record.dataset,
        norm=norm,
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
        n=metrics.n,
        clean=metrics.clean,
        rows=rows,
        method=method,
        index=INDEX,
        limits=LIMITS,
        attack_names=" | ".join(attacks),
        dashes="---|" * len(attacks),
        nearest=_nearest(metrics.nearest),
        seeds=_seeds(metrics.seeds, norm),
        attack_parameters="\n".join(
            _settings(attack, metrics.attacked, metrics.n) for attack in attacks
        ),
    )
    return f"---\n{metadata.to_yaml()}\n---\n{text}"


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
