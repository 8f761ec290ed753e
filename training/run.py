"""From a recipe to trained weights."""

import json
import pathlib

import keras

import zoo
from training.batches import Batches
from training.progress import TrainingProgress
from training.schedules import EpsilonSchedule, PSchedule
from training.state import RunState, write_whole
from zoo import checkpoint, checks, data


def build(recipe):
    """The untrained model of a recipe.

    Args:
        recipe: as :func:`training.recipe.load` returns it.
    """
    keras.utils.set_random_seed(recipe["seed"])
    config = dict(recipe["model"])
    kind = config.pop("class")
    if kind not in zoo.models.__all__:
        raise ValueError(f"recipe {recipe['name']}: there is no model class {kind!r}")
    try:
        return getattr(zoo.models, kind)(**config)
    except TypeError as error:
        raise ValueError(f"recipe {recipe['name']}: {error}") from error


def splits(recipe, data_file=None):
    """Training and validation images of a recipe; the test set is for ``--measure`` alone."""
    images = data.load(data_file or recipe["data"]["name"], "train")
    held_out = recipe["data"].get("validation", 0)
    if held_out >= len(images):
        raise ValueError(f"validation holds out {held_out} of only {len(images)} images")
    first_held_out = len(images) - held_out
    return images.take(first_held_out), images.take(first_held_out, len(images))


def train(recipe, folder, *, data_file=None, epochs=None, verbose=1):
    """Run a recipe, or go on with an interrupted run of it.

    Args:
        recipe: as :func:`training.recipe.load` returns it.
        folder: of the run. It receives the state of the last epoch, the history, and at the end
            the checkpoint and ``run.json``.
        data_file: an ``.npz`` file (see :func:`zoo.data.save`) in place of the named image set.
        epochs: stop after this many; the schedules stay those of the whole recipe.
        verbose: 1 shows a progress bar and a line per epoch.

    Returns:
        The trained model, as the checkpoint stores it.

    Raises:
        ValueError: if the folder holds a run of another recipe.
    """
    if epochs is not None:
        checks.positive_integer(epochs, "epochs")
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    _claim(folder, recipe)
    training, validation = splits(recipe, data_file)
    settings = recipe["training"]
    batches = Batches(
        training.images,
        training.labels,
        batch_size=settings["batch_size"],
        seed=recipe["seed"],
        **recipe.get("augment", {}),
    )
    model = build(recipe)
    if training.images.shape[1:] != model.image_shape:
        raise ValueError(
            f"{training.name} has images {training.images.shape[1:]}, the recipe "
            f"{model.image_shape}"
        )
    checks.labels(training.labels, len(training), model.num_classes)
    model.compile(optimizer=_optimizer(settings, len(batches)))
    state = RunState(folder)
    first, last = state.restore(model), min(epochs or settings["epochs"], settings["epochs"])
    callbacks = [batches.follow(), *_schedules(recipe, model, len(batches)), state]
    progress = TrainingProgress(first, last, len(batches))
    try:
        model.fit(
            batches,
            initial_epoch=first,
            epochs=last,
            shuffle=False,  # the batches shuffle by themselves, repeatably
            verbose=0,
            callbacks=[*callbacks, *([progress] if verbose else [])],
        )
    finally:
        progress.close()
    checkpoint.save(model, folder, float16=recipe.get("float16", False))
    record = {
        "recipe": recipe["name"],
        "seed": recipe["seed"],
        "epochs": len(state.history),
        "seconds": round(sum(epoch["seconds"] for epoch in state.history)),
        "hardware": _all_of(state.history, "hardware"),
        "backend": _all_of(state.history, "backend"),
        "images": len(training),
    }
    model = checkpoint.load(folder)
    if first >= last and (folder / "run.json").exists():
        return model
    if len(validation):
        record["validation"] = _validate(model, validation, recipe["measure"]["eps"], verbose)
    write_whole(folder / "run.json", json.dumps(record, indent=1) + "\n")
    return model


def _all_of(history, key):
    """The value of all epochs, or the values in order where a run moved."""
    return ", then ".join(dict.fromkeys(epoch[key] for epoch in history))


def _claim(folder, recipe):
    path = folder / "recipe.json"

    def of_the_run(recipe):  # what is measured afterwards, and said of it, may change
        return {key: recipe[key] for key in recipe if key not in ("measure", "notes")}

    if path.exists() and of_the_run(json.loads(path.read_text())) != of_the_run(recipe):
        raise ValueError(
            f"{folder} holds a run of another recipe, or of an older version of this one; "
            "delete it, or choose another folder with --out"
        )
    write_whole(path, json.dumps(recipe, indent=1) + "\n")


def _optimizer(settings, steps_per_epoch):
    return keras.optimizers.Adam(
        keras.optimizers.schedules.CosineDecay(
            settings["learning_rate"], settings["epochs"] * steps_per_epoch
        ),
        beta_1=settings.get("beta_1", 0.9),
        beta_2=settings.get("beta_2", 0.999),
        epsilon=settings.get("epsilon", 1e-7),
    )


def _schedules(recipe, model, steps):
    callbacks = []
    if "p_schedule" in recipe:
        schedule = dict(recipe["p_schedule"])
        last_weight = schedule.pop("cross_entropy_weight_last", None)
        if last_weight is not None:
            weights = (recipe["model"].get("cross_entropy_weight", 0.0), last_weight)
            if not min(weights) > 0:
                raise ValueError("a decaying cross_entropy_weight needs a positive first and last")
            schedule["cross_entropy_weight"] = weights
        callbacks.append(PSchedule(**schedule, steps_per_epoch=steps))
    if "epsilon_schedule" in recipe:
        epochs = recipe["epsilon_schedule"]["epochs"]
        callbacks.append(EpsilonSchedule(float(model.epsilon), epochs, steps))
    return callbacks


def _validate(model, images, budgets, verbose):
    certificate = model.certify(images.images, verbose=verbose)
    certified = [
        {"eps": str(eps), "accuracy": certificate.accuracy(images.labels, eps)} for eps in budgets
    ]
    clean = float((certificate.prediction == images.labels).mean())
    return {"n": len(images), "clean": clean, "certified": certified}
