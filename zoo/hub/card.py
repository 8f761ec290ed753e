"""The model card of a checkpoint, with the Hub's evaluation-result metadata."""

_TEXT = """
# {name}

{architecture}, {parameters:,} parameters, trained on {dataset} by [certified-zoo](https://pypi.org/project/certified-zoo/).
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

| eps ({norm}) | {attack_names} | certified |
|---|{dashes}---|
{rows}

The certified number is a lower bound under any attack, the attacked one an upper bound.
Certificate: {method}. Attack parameters, {attack_parameters}.

## Training

{epochs} epochs on {images} images, seed {seed}, {seconds} s on {hardware}, {backend} backend; recipe
`{recipe}`. {notes}

## Limits

The guarantee is about perturbations of one norm, added to the image the model is given. It says
nothing about other changes, about images unlike the training data, or about whether the unperturbed
prediction is right.

## Licence and citation

Weights and code: {license}. If you use them, please cite the paper whose method this is:

> {paper}
"""


def card(entry):
    """The model card as text.

    Args:
        entry: of the manifest, a dictionary.

    Returns:
        Markdown with YAML metadata, for a checkpoint's ``README.md``.
    """
    from huggingface_hub import EvalResult, ModelCardData

    metrics, norm = entry["metrics"], entry["norm"]
    method = metrics["certified"][0]["method"]
    certified = [e for e in metrics["certified"] if (e["norm"], e["method"]) == (norm, method)]
    attacks = list(dict.fromkeys(e["attack"] for e in metrics["attacked"]))
    attacked = {(e["eps"], e["attack"]): e for e in metrics["attacked"]}

    def result(metric, value):
        return EvalResult(
            task_type="image-classification",
            dataset_type=entry["dataset"],
            dataset_name=entry["dataset"],
            dataset_split=metrics["split"],
            metric_type="accuracy",
            metric_name=metric,
            metric_value=value,
        )

    metadata = ModelCardData(
        model_name=entry["name"],
        license=entry["license"],
        library_name="keras",
        pipeline_tag="image-classification",
        tags=["certified-robustness", "adversarial-robustness", entry["approach"]],
        eval_results=[
            result("clean accuracy", metrics["clean"]),
            *(
                result(f"certified accuracy, {norm} eps {e['eps']}", e["accuracy"])
                for e in certified
            ),
            *(
                result(f"accuracy under {e['attack']}, {norm} eps {e['eps']}", e["accuracy"])
                for e in attacked.values()
            ),
        ],
    )
    lines = [
        [e["eps"], *(f"{attacked[e['eps'], a]['accuracy']:.2%}" for a in attacks)]
        for e in certified
    ]
    rows = "\n".join(
        f"| {' | '.join(line)} | {e['accuracy']:.2%} |"
        for line, e in zip(lines, certified, strict=True)
    )
    last = metrics["attacked"][-1]
    text = _TEXT.format(
        **{k: entry[k] for k in ("name", "architecture", "parameters", "dataset", "norm")},
        **{k: entry[k] for k in ("license", "paper")},
        **{k: entry["training"][k] for k in ("epochs", "images", "seed", "seconds", "hardware")},
        **{k: entry["training"][k] for k in ("backend", "recipe")},
        n=metrics["n"],
        clean=metrics["clean"],
        rows=rows,
        method=method,
        attack_names=" | ".join(attacks),
        dashes="---|" * len(attacks),
        attack_parameters=f"{last['attack']}: "
        + ", ".join(f"{k} {v}" for k, v in last["parameters"].items()),
        notes=entry["notes"],
    )
    return f"---\n{metadata.to_yaml()}\n---\n{text}"
