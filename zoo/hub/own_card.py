"""The card of a published model that is not in the catalog."""

import re
from typing import Any

from zoo.hub.card import LIMITS
from zoo.project import INDEX

_LOAD = """
```python
import zoo

model = zoo.load("hf://{repo}")
certificate = model.certify(images)      # images in [0, 1], (n, {image_shape})
certificate.prediction, certificate.radius
```
"""

_TEXT = """
# {name}

{architecture}, {parameters:,} parameters, for images {image_shape} of {num_classes} classes; a
model of [certified-zoo]({index}). Its predictions come with a proof: no image in [0, 1] within the
certified radius of the given one is classified differently.
{load}
Certificates (norm and method, the default first): {certificates}.
{results}
## Limits
{limits}"""


def own_card(repo: str, measured: dict[str, Any], license: str | None = None) -> str:
    """The card of a model as text.

    Args:
        repo: ``organisation/name`` on the Hub.
        measured: what :func:`zoo.hub.audit.audit_own` returned.
        license: identifier of the licence of the weights, such as ``"mit"``; None for none.

    Returns:
        Markdown with YAML metadata.
    """
    from huggingface_hub import EvalResult, ModelCardData

    name, model = repo.partition("/")[2], measured["model"]
    results: list[EvalResult] = []

    def add(metric: str, value: float) -> None:
        results.append(
            EvalResult(
                task_type="image-classification",
                dataset_type=measured["data"],
                dataset_name=measured["data"],
                dataset_split="test",
                metric_type="accuracy",
                metric_name=metric,
                metric_value=value,
            )
        )

    if "clean" in measured:
        norm = measured["norm"]
        add("clean accuracy", measured["clean"])
        for eps, accuracy in measured["certified"].items():
            add(f"certified accuracy, {norm} eps {eps}", accuracy)
        for eps, accuracy in measured["attacked"].items():
            add(f"accuracy under attack, {norm} eps {eps}", accuracy)
    metadata = ModelCardData(
        model_name=name if results else None,
        license=license,
        library_name="keras",
        pipeline_tag="image-classification",
        tags=["certified-robustness", "adversarial-robustness", "certified-zoo"],
        eval_results=results or None,
    )
    text = _TEXT.format(
        name=name,
        architecture=model["architecture"],
        parameters=model["parameters"],
        image_shape=tuple(model["image_shape"]),
        num_classes=model["num_classes"],
        load=_load_text(repo, model),
        certificates=", ".join(f"{norm} {method}" for norm, method in model["certificates"]),
        results=_results(measured) if results else "",
        limits=LIMITS,
        index=INDEX,
    )
    if model["paper"]:
        text += f"\n## Citation\n\nThe method is that of:\n\n> {model['paper']}\n"
    return f"---\n{metadata.to_yaml()}\n---\n{text}"


def with_address(text: str, repo: str, measured: dict[str, Any]) -> str:
    """A card that its author wrote, with a section that says how to load the model.

    Args:
        text: content of the ``README.md``; it is returned unchanged if it has the address.
        repo, measured: as for :func:`own_card`.
    """
    # The address of `you/net` is not in a text that names `you/net-large`.
    if re.search(rf"hf://{re.escape(repo)}(?![\w.-]*\w)", text):
        return text
    return f"{text.rstrip()}\n\n## Load\n{_load_text(repo, measured['model'])}"


def _load_text(repo: str, model: dict[str, Any]) -> str:
    return _LOAD.format(repo=repo, image_shape=", ".join(map(str, model["image_shape"])))


def _results(measured: dict[str, Any]) -> str:
    rows = [
        f"| {eps} | {measured['attacked'][eps]:.2%} | {accuracy:.2%} |"
        for eps, accuracy in measured["certified"].items()
    ]
    table = ["", f"| eps ({measured['norm']}) | fgsm and pgd | certified |", "|---|---|---|", *rows]
    lines = [
        "",
        "## Results",
        "",
        f"{measured['n']} test images of {measured['data']}: clean accuracy "
        f"{measured['clean']:.2%}. Certificate: {measured['method']}.",
        *(table if rows else []),
        "",
    ]
    return "\n".join(lines)
