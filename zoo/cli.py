"""The ``zoo`` command."""

import argparse
import os
import sys

from zoo.epsilon import Epsilon
from zoo.errors import ZooError
from zoo.hub import catalog
from zoo.utils.json_text import json_text
from zoo.utils.terminal import print_any_character
from zoo.utils.whole_file import require_writable, write_whole


class _Unfinished(Exception):
    """Holds what was measured before something failed; the failure is its cause."""

    def __init__(self, result, text):
        self.result, self.text = result, text


def main(arguments=None):
    """Run the command; returns its exit code."""
    # The backends' own start-up messages would drown a one-line answer.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    print_any_character()
    options = _parser().parse_args(arguments)
    try:
        try:
            _print(options, *options.run(options))
        except _Unfinished as unfinished:
            _print(options, unfinished.result, unfinished.text)
            raise unfinished.__cause__ from None
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except (ZooError, ValueError, TypeError, OSError, RuntimeError, ImportError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    return 0


def _print(options, result, text):
    try:
        print(json_text(result, indent=1) if options.json else text, flush=True)
    except OSError as error:
        # What is still to be written must not fail once more when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        # A closed pipe means that the reader has seen enough, as in `zoo list | head`.
        if not isinstance(error, BrokenPipeError):
            raise


def _parser():
    parser = argparse.ArgumentParser(
        prog="zoo", description="Certifiably robust image classifiers with pretrained weights."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name, run, summary):
        added = commands.add_parser(name, help=summary, description=summary)
        added.add_argument("--json", action="store_true", help="print JSON")
        added.set_defaults(run=run)
        return added

    listed = command("list", _list, "List the models and their accuracies.")
    listed.add_argument("pattern", nargs="?", default="*", help="of the name, with * and ?")
    for key in ("dataset", "norm", "approach"):
        listed.add_argument(f"--{key}", help=f"only models of this {key}")

    info = command("info", _info, "Show everything that is known about a model.")
    info.add_argument("name")

    evaluate = command("evaluate", _evaluate, "Measure clean ≥ attacked ≥ certified accuracy.")
    _add_model_and_images(evaluate, many=True)
    _add_eps(evaluate, many=True)
    evaluate.add_argument(
        "--attacks", default="fgsm,pgd", help="comma-separated (default: %(default)s)"
    )
    evaluate.add_argument("--plot", help="draw the certified-accuracy curve into this file")
    evaluate.add_argument(
        "--ray",
        metavar="ADDRESS",
        help="on a Ray cluster: host:port, ray://host:port, auto, or local for this machine alone",
    )
    evaluate.add_argument(
        "--task-cpus", type=float, help="of a task on the cluster, which is a batch (default: 1)"
    )
    evaluate.add_argument(
        "--task-gpus", type=float, help="of a task on the cluster, or a part of one (default: 0)"
    )

    certify = command("certify", _certify, "Prove a radius for each image.")
    _add_model_and_images(certify)
    certify.add_argument("--method", default="auto", help="of the certificate")

    attack = command("attack", _attack, "Attack each image.")
    _add_model_and_images(attack)
    _add_eps(attack)
    attack.add_argument("--attack", default="pgd", help="(default: %(default)s)")
    attack.add_argument("--steps", type=int, help="of an iterative attack")
    attack.add_argument("--restarts", type=int, help="of pgd")
    attack.add_argument("--save", help="write the attacked images to this .npz file")

    download = command("download", _download, "Fetch and verify a model's files.")
    download.add_argument("name")
    download.add_argument("--revision", help="of the Hub repository")
    download.add_argument("--cache-dir", help="in place of the Hub client's cache")

    carded = command("card", _card, "Print a model's card, as it is published.")
    carded.add_argument("name")

    publish = command("publish", _publish, "Audit a model and publish it on the Hugging Face Hub.")
    publish.add_argument("name")
    publish.add_argument("--to", required=True, metavar="ORG", help="organisation or user")
    publish.add_argument("--private", action="store_true", help="if the repository is created")
    publish.add_argument("--dry-run", action="store_true", help="stage and audit, send nothing")
    publish.add_argument(
        "--sample", type=int, default=100, help="test images to measure again (%(default)s)"
    )
    publish.add_argument("--data", help=".npz file in place of the model's test set")

    verify = command("verify", _verify, "Check the files of all models, or of one, and load them.")
    verify.add_argument("name", nargs="?", help="(default: all)")

    leaderboard = command("leaderboard", _leaderboard, "Write all models' numbers as a page.")
    leaderboard.add_argument("--out", metavar="FOLDER", help="write index.html into this folder")
    leaderboard.add_argument("--models", metavar="FILE", help="write Markdown tables to this file")
    return parser


def _add_model_and_images(parser, many=False):
    model = "model name, hf://org/repo[@revision], or folder"
    parser.add_argument("name", nargs="+" if many else None, help=model)
    parser.add_argument("--data", help="image set or .npz file (default: the model's test set)")
    parser.add_argument("--n", type=int, help="only the first N images")
    parser.add_argument("--norm", choices=("linf", "l2"), help="of the perturbation")
    parser.add_argument("--batch-size", type=int, default=256, help="(default: %(default)s)")
    parser.add_argument("--quiet", action="store_true", help="no progress bars")


def _add_eps(parser, many=False):
    parser.add_argument(
        "--eps",
        nargs="+" if many else None,
        help="perturbation budget, such as 0.1 or 8/255 (default: those the model was measured at)",
    )


def _list(options):
    records = catalog.list_models(
        options.pattern, dataset=options.dataset, norm=options.norm, approach=options.approach
    )
    text = str(records) if records else "no model matches"
    return [record.to_dict() for record in records], text


def _info(options):
    record = catalog.info(options.name)
    return record.to_dict(), str(record)


def _evaluate(options):
    if options.plot and len(options.name) > 1:
        raise ValueError("--plot draws the curve of one model; give one name")
    if options.ray is None and (options.task_cpus, options.task_gpus) != (None, None):
        raise ValueError("--task-cpus and --task-gpus are for --ray")
    if options.plot:
        from zoo.evaluation.plots import require_drawable

        require_drawable(options.plot)
    settings = [_evaluation_settings(options, name) for name in options.name]
    models_and_images = _models_and_images(options, options.name)
    jobs = [
        (name, model, images, of_model)
        for name, (model, images), of_model in zip(
            options.name, models_and_images, settings, strict=True
        )
    ]
    results, texts = [], []

    def measured():
        return results if len(options.name) > 1 else results[0], "\n\n".join(texts)

    reports = (_evaluate_on_ray if options.ray else _evaluate_here)(options, jobs)
    try:
        for (name, _, images, _), report in zip(jobs, reports, strict=True):
            results.append({"model": name, "data": images.name, **report.to_dict()})
            texts.append(f"{name} on {images.name}\n{report}")
            if options.plot:
                report.plot(options.plot)
    except (Exception, KeyboardInterrupt) as error:
        if not results:
            raise
        raise _Unfinished(*measured()) from error
    return measured()


def _evaluate_here(options, jobs):
    from zoo import evaluation

    for _, model, images, settings in jobs:
        evaluation.check(model, images.images, images.labels, **settings)
    for _, model, images, settings in jobs:
        yield evaluation.evaluate(
            model, images.images, images.labels, **settings, verbose=not options.quiet
        )


def _evaluate_on_ray(options, jobs):
    from zoo.evaluation import scale_out

    jobs = [
        scale_out.Job(name, model, images.images, images.labels, settings)
        for name, model, images, settings in jobs
    ]
    takes = {"cpus": options.task_cpus, "gpus": options.task_gpus}
    takes = {kind: number for kind, number in takes.items() if number is not None}
    return scale_out.evaluate_each(jobs, options.ray, **takes, verbose=not options.quiet)


def _evaluation_settings(options, name):
    return {
        "eps": [Epsilon(eps) for eps in options.eps or _measured_eps(name)],
        "norm": options.norm,
        "attacks": tuple(filter(None, options.attacks.split(","))),
        "batch_size": options.batch_size,
    }


def _certify(options):
    ((model, images),) = _models_and_images(options, [options.name])
    certificate = model.certify(
        images.images,
        norm=options.norm,
        method=options.method,
        batch_size=options.batch_size,
        verbose=not options.quiet,
    )
    result = {"model": options.name, "data": images.name, **certificate.to_dict()}
    lines = ["image  label  prediction  radius"]
    for i, (label, prediction, radius) in enumerate(
        zip(images.labels, certificate.prediction, certificate.radius, strict=True)
    ):
        lines.append(f"{i:5}  {label:5}  {prediction:10}  {radius:.6f}")
    return result, "\n".join(lines)


def _attack(options):
    import numpy as np

    params = {k: v for k in ("steps", "restarts") if (v := getattr(options, k)) is not None}
    eps = Epsilon(options.eps or _measured_eps(options.name)[0])
    if options.save:
        options.save = options.save.removesuffix(".npz") + ".npz"  # as NumPy will name it
        require_writable(options.save)
    ((model, images),) = _models_and_images(options, [options.name])
    x_adv = model.attack(
        images.images,
        images.labels,
        options.attack,
        eps=eps,
        norm=options.norm,
        batch_size=options.batch_size,
        verbose=not options.quiet,
        **params,
    )
    fooled = np.argmax(model.logits(x_adv), axis=1) != images.labels
    accuracy = float(1 - fooled.mean()) if len(images) else None
    result = {
        "model": options.name,
        "data": images.name,
        "attack": options.attack,
        "eps": str(eps),
        "n": len(images),
        "accuracy": accuracy,
        "fooled": fooled.tolist(),
    }
    text = (
        f"{options.name} on {images.name}: {fooled.sum()} of {len(images)} images "
        f"misclassified under {options.attack} at eps {eps}"
    )
    if options.save:
        try:
            np.savez_compressed(options.save, x_test=x_adv, y_test=images.labels)
        except OSError as error:
            raise _Unfinished(result, text) from error
    return result, text


def _download(options):
    from zoo.hub import download

    if options.cache_dir and not os.path.isdir(options.cache_dir):
        require_writable(os.path.join(options.cache_dir, "file"), makes_folders=True)
    folder = download.fetch(options.name, revision=options.revision, cache_dir=options.cache_dir)
    return {"name": options.name, "folder": str(folder)}, str(folder)


def _card(options):
    from zoo.hub.card import card

    text = card(catalog.info(options.name))
    return {"name": options.name, "card": text}, text


def _publish(options):
    from zoo.hub.publishing import publish

    result = publish(
        options.name,
        options.to,
        private=options.private,
        dry_run=options.dry_run,
        sample=options.sample,
        data=options.data,
    )
    measured, sizes = result["audit"], result["files"]
    where = (
        f"would be published as {result['repo_id']}"
        if options.dry_run
        else f"is published: hf://{result['repo_id']}@{result['revision']}"
    )
    return result, "\n".join(
        [
            f"{options.name} {where}",
            *(f"  {file}: {size:,} bytes" for file, size in sizes.items()),
            f"  audit of {measured['n']} test images in a fresh process: clean "
            f"{measured['clean']:.2%}, certified "
            + ", ".join(f"{a:.2%} at {eps}" for eps, a in measured["certified"].items()),
        ]
    )


def _verify(options):
    from zoo.hub import download, loading

    records = [catalog.info(options.name)] if options.name else catalog.list_models()
    names = []

    def verified():
        lines = [f"{name}: files as published, loads" for name in names]
        return {"verified": names}, "\n".join(lines)

    for record in records:
        try:
            download.fetch(record.name)
            loading.load(record.name, verify=False)
        except Exception as error:
            if not names:
                raise
            raise _Unfinished(*verified()) from error
        names.append(record.name)
    return verified()


def _leaderboard(options):
    from zoo.evaluation.leaderboard.models_page import models_page
    from zoo.evaluation.leaderboard.page import PAGE, write
    from zoo.evaluation.leaderboard.rows import rows

    if not (options.out or options.models):
        raise ValueError("nothing to write; give --out FOLDER, --models FILE or both")
    for path in filter(None, (options.out and os.path.join(options.out, PAGE), options.models)):
        require_writable(path, makes_folders=True)
    records = catalog.list_models()
    written = []
    if options.out:
        written.append(str(write(options.out, records)))
    if options.models:
        write_whole(options.models, models_page(records))
        written.append(options.models)
    return {"written": written, "rows": rows(records)}, "\n".join(written)


def _models_and_images(options, names):
    """Pairs of model and images, one for each name.

    All names and options are looked at before anything is loaded.
    """
    from zoo import data
    from zoo.hub import download, loading
    from zoo.utils import checks

    if options.n is not None and options.n < 1:
        raise ValueError(f"--n must be at least 1, got {options.n}")
    checks.positive_integer(options.batch_size, "--batch-size")
    sources = [options.data or _record(name, "--data").dataset for name in names]
    for name, source in zip(names, sources, strict=True):
        download.check(name)
        data.check(source)
    images = {source: data.load(source, "test") for source in dict.fromkeys(sources)}
    if options.n is not None:
        images = {source: images[source].take(options.n) for source in images}
    return [
        (loading.load(name), images[source]) for name, source in zip(names, sources, strict=True)
    ]


def _measured_eps(name):
    measured = [result.eps for result in _record(name, "--eps").metrics.attacked]
    if not measured:
        raise ValueError(f"{name} was measured under no attack; give --eps")
    return measured


def _record(name, option):
    from zoo.hub import download

    if download.is_outside_catalog(name):
        raise ValueError(f"{name} has no entry in the catalog to take defaults from; give {option}")
    return catalog.info(name)


if __name__ == "__main__":
    sys.exit(main())
