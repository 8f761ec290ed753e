"""Train the model of a recipe."""

import contextlib
import json
import sys

import keras

import zoo
from training import json_file
from training.batches import Batches
from training.clock import Clock
from training.early_stopping import EarlyStopping
from training.folder_lock import locked
from training.images import load_test, splits
from training.monitor import MarginMonitor
from training.progress import TrainingProgress
from training.recipe import import_module
from training.schedules import EpsilonSchedule, LearningRateSchedule, PSchedule
from training.state import RunState
from training.workers import Workers
from zoo.hub import checkpoint
from zoo.hub.download import digest
from zoo.models.training_epsilon import TrainingEpsilon
from zoo.utils import checks
from zoo.utils.json_text import json_text
from zoo.utils.paths import expanded
from zoo.utils.whole_file import write_whole


def build(recipe):
    """The untrained model of a recipe.

    The model's class must be registered with Keras. ``class`` is its registered name, such as
    ``"package>Name"``; for a class of the zoo, the name without the package is enough. If
    ``module`` is given, this module, which registers the class, is imported first.

    Args:
        recipe: recipe, as :func:`training.recipe.load` returns it.

    Raises:
        ValueError: if there is no such class or module, or the class rejects the settings.
    """
    keras.utils.set_random_seed(recipe["seed"])
    config = dict(recipe["model"])
    name = config.pop("class")
    config.pop("module", None)
    import_module(recipe)
    kinds = (keras.saving.get_registered_object(known) for known in (name, f"zoo>{name}"))
    kind = next(filter(None, kinds), None)
    if not (isinstance(kind, type) and issubclass(kind, zoo.models.CertifiedModel)):
        raise ValueError(
            f"recipe {recipe['name']}: there is no model class {name!r}; a class of your own must "
            "be registered with keras.saving.register_keras_serializable() in the module that "
            "`module` names"
        )
    try:
        return kind(**config)
    except TypeError as error:
        raise ValueError(f"recipe {recipe['name']}: {error}") from error


def train(
    recipe,
    folder,
    *,
    data_file=None,
    epochs=None,
    minutes=None,
    save_every=120.0,
    workers=None,
    verbose=1,
):
    """Run a recipe, or continue an interrupted run of it.

    Args:
        recipe: recipe, as :func:`training.recipe.load` returns it.
        folder: folder of the run. The last state and the history are saved in it, and at the end
            the checkpoint and ``run.json``.
        data_file: an ``.npz`` file (see :func:`zoo.data.save`) to use instead of the recipe's image
            set.
        epochs: number of epochs after which to stop; the schedules remain those of the whole
            recipe.
        minutes: train for this time, over all calls with this folder, with the schedules stretched
            over the time, whatever the number of epochs. The time from the first step to the last
            one counts, which includes compiling it, saving states, and measurements after an epoch;
            loading data before it and measuring the finished model take extra time.
        save_every: seconds between two saved states.
        workers: the :class:`training.workers.Workers` that train together; by default those of
            ``TF_CONFIG``. Each of them calls this function; only the chief reads and writes the
            folder.
        verbose: 1 makes the chief show a progress bar and a line per epoch.

    Returns:
        The trained model, as the checkpoint stores it.

    Raises:
        KeyboardInterrupt: after Ctrl-C or a request to terminate; the state was saved first, unless
            the signal came twice. Its text says where the next call goes on.
        ValueError: if another process trains in the folder; if the folder holds a run of another
            recipe, of another data file, or with another time limit, or a run that was interrupted
            after more than ``epochs``; if several workers cannot share the recipe's batches; if
            several workers are given a time limit or early stopping, on which each of them would
            decide for itself.
    """
    workers = Workers.from_environment() if workers is None else workers
    if workers.count > 1 and minutes is not None:
        raise ValueError("several workers train for a number of epochs, not for minutes")
    if workers.count > 1 and "stop" in recipe:
        raise ValueError(
            "several workers train for a number of epochs; take stop out of the recipe"
        )
    with workers.folder(folder) as own:
        return _train(
            workers,
            recipe,
            own,
            data_file=data_file,
            epochs=epochs,
            minutes=minutes,
            save_every=save_every,
            verbose=verbose if workers.is_chief else 0,
        )


def _train(workers, recipe, folder, *, data_file, epochs, minutes, save_every, verbose):
    if epochs is not None:
        checks.positive_integer(epochs, "epochs")
    if minutes is not None:
        minutes = checks.positive_number(minutes, "minutes")
        if epochs is not None:
            raise ValueError("give epochs or minutes, not both: each of them ends the training")
    training, validation = splits(recipe, data_file)
    settings = recipe["training"]
    batches = Batches(
        training.images,
        training.required_labels(),
        batch_size=settings["batch_size"],
        seed=recipe["seed"],
        share=workers.share(settings["batch_size"]),
        **recipe.get("augment", {}),
    )
    model = build(recipe)
    for images in (training, validation):
        require_valid(images, model)
    clock = Clock(settings["epochs"], batches.steps_per_epoch, minutes)
    schedules = _schedules(recipe, model, clock)
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        _claim(folder, recipe, data_file, minutes)
        model.compile(
            optimizer=workers.averaging(_optimizer(settings, clock)),
            loss=_loss(settings),
            jit_compile=settings.get("jit_compile", "auto"),
        )
        state = RunState(folder, clock, save_every)
        state.restore(model)
        workers.start_like_chief(model, clock)
        last = min(epochs or settings["epochs"], settings["epochs"])
        if minutes is not None:
            last = clock.epoch if clock.is_over else sys.maxsize
        stopping = EarlyStopping(state, **recipe["stop"]) if "stop" in recipe else None
        if stopping and stopping.is_due:
            last = min(clock.epoch, last)
        elif minutes is None and clock.batch and clock.epoch >= last:
            raise ValueError(
                f"the run in {folder} was interrupted in epoch {clock.epoch + 1}, so that its "
                f"weights are no longer those after {last}; give --epochs {clock.epoch + 1} or more"
            )
        if clock.epoch < last:
            (folder / "run.json").unlink(missing_ok=True)  # it describes a run with fewer epochs
        if verbose:
            print(f"{recipe['name']}: {state.start(last)}", file=sys.stderr, flush=True)
        progress = TrainingProgress(clock, last, show=verbose)
        callbacks = [clock, batches.follow(clock), *schedules, *workers.callbacks()]
        callbacks += _monitors(recipe, model, data_file) + [state]
        callbacks += [stopping] if stopping else []
        callbacks += [progress] if verbose else []
        # Workers wait for each other in every batch, so that one of them cannot complete it alone.
        guard = state.interruptible() if workers.count == 1 else contextlib.nullcontext()
        try:
            with guard:
                # Keras counts the batches of an epoch only once in each fit. A run that was
                # interrupted within an epoch therefore needs one fit for the rest of that epoch and
                # one for the others.
                for end in (min(clock.epoch + 1, last), last) if clock.batch else (last,):
                    if clock.epoch >= end or clock.is_over or (stopping and stopping.is_due):
                        break
                    batches.start(clock.epoch, clock.batch)
                    model.fit(
                        batches,
                        initial_epoch=clock.epoch,
                        epochs=end,
                        shuffle=False,  # `batches` shuffles the images itself, reproducibly
                        verbose=0,
                        callbacks=callbacks,
                        **(_validation(model, validation, settings) if stopping else {}),
                    )
        except KeyboardInterrupt:
            raise KeyboardInterrupt(state.place()) from None
        finally:
            progress.close()
        checkpoint.save(model, folder, float16=recipe.get("float16", False))
        record = {
            "recipe": recipe["name"],
            "seed": recipe["seed"],
            "epochs": len(state.history),
            **({} if minutes is None else {"minutes": minutes}),
            **({"stopped": True} if stopping and stopping.is_due else {}),
            "seconds": round(sum(epoch["seconds"] for epoch in state.records)),
            "hardware": _all_of(state.records, "hardware"),
            "backend": _all_of(state.records, "backend"),
            "images": len(training),
            **({"workers": workers.count} if workers.count > 1 else {}),
        }
        model = checkpoint.load(folder)
        if (folder / "run.json").exists():
            return model
        if len(validation) and workers.is_chief:
            # A slow certificate is measured on no more validation images than test images.
            count = min(len(validation), recipe["measure"].get("images", len(validation)))
            budgets = recipe["measure"]["eps"]
            record["validation"] = _validate(model, validation.take(count), budgets, verbose)
        write_whole(folder / "run.json", json_text(record, indent=1) + "\n")
        return model


def require_valid(images, model):
    """Raise unless a model can be trained or measured on these images and labels.

    Args:
        images: :class:`zoo.data.ImageSet`.
        model: :class:`zoo.models.CertifiedModel`.

    Raises:
        ValueError: naming the set, and what is wrong with its images or labels.
    """
    try:
        checks.require_images(images.images, model.image_shape)
        checks.labels(images.required_labels(), len(images), model.num_classes)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{images.name}: {error}") from error


def affects_training(recipe):
    """A copy of a recipe without its entries about measurements and its notes.

    The time limit and the data of a run, which its own copy of the recipe has, are left out too.

    Args:
        recipe: recipe, as :func:`training.recipe.load` returns it.
    """
    others = ("measure", "notes", "minutes", "data_file")
    return {key: recipe[key] for key in recipe if key not in others}


def _all_of(history, key):
    """The value of a key in all epochs; several values, in order, if the run changed machines."""
    return ", then ".join(dict.fromkeys(epoch[key] for epoch in history))


def _claim(folder, recipe, data_file, minutes):
    """Write the recipe of a run into its folder; raise if the folder holds another run."""
    path = folder / "recipe.json"
    if minutes is not None:
        recipe = {**recipe, "minutes": minutes}
    recipe = {**recipe, "data_file": None if data_file is None else _content(data_file)}
    if path.exists():
        other = json_file.read(path)
        advice = "delete it, or choose another folder with --out"
        if affects_training(other) != affects_training(recipe):
            raise ValueError(
                f"{folder} holds a run of another recipe, or of an older version of this one; "
                f"{advice}"
            )
        if other.get("data_file", recipe["data_file"]) != recipe["data_file"]:
            raise ValueError(f"{folder} holds a run of other data; give the same --data, {advice}")
        if other.get("minutes") != minutes:
            limit = f"--minutes {other['minutes']:g}" if "minutes" in other else "no --minutes"
            raise ValueError(f"{folder} holds a run with {limit}; go on like that, {advice}")
    write_whole(path, json.dumps(recipe, indent=1) + "\n")


def _content(data_file):
    """An identifier of the data: the digest of a file, or the name of a folder or image set."""
    path = expanded(data_file)
    return digest(path)[1] if path.is_file() else str(path)


def _optimizer(settings, clock):
    rate = settings["learning_rate"]
    if clock.limit is None:
        rate = _decay(settings, clock)
    decay = settings.get("weight_decay")
    if settings.get("optimizer") == "sgd":
        momentum = settings.get("momentum", 0.9)
        return keras.optimizers.SGD(rate, momentum=momentum, nesterov=True, weight_decay=decay)
    return keras.optimizers.Adam(
        rate,
        weight_decay=decay,
        beta_1=settings.get("beta_1", 0.9),
        beta_2=settings.get("beta_2", 0.999),
        epsilon=settings.get("epsilon", 1e-7),
    )


def _loss(settings):
    """The loss that a recipe names; None stands for the model's own loss."""
    if settings.get("loss") == "cross_entropy":
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return None


def _monitors(recipe, model, data_file):
    """Callbacks that record margins of test images in the history; training does not use them."""
    if "monitor" not in recipe:
        return []
    images = load_test(recipe["data"]["name"], data_file).take(recipe["monitor"]["images"])
    images.required_labels()
    try:
        return [MarginMonitor(model, images)]
    except TypeError as error:
        raise ValueError(f"recipe {recipe['name']}: monitor: {error}") from error


def _validation(model, images, settings):
    """Arguments of ``fit`` that make it measure the accuracy on validation images each epoch."""
    floats = checks.images(images.images, model.image_shape)
    return {
        "validation_data": (floats, images.labels),
        "validation_batch_size": settings["batch_size"],
    }


def _decay(settings, clock):
    rate, drops = settings["learning_rate"], settings.get("drops")
    if drops == []:
        return rate
    if drops is None:
        return keras.optimizers.schedules.CosineDecay(rate, clock.epochs * clock.steps_per_epoch)
    return keras.optimizers.schedules.PiecewiseConstantDecay(
        [epoch * clock.steps_per_epoch for epoch in drops],
        [rate * 0.1**count for count in range(len(drops) + 1)],
    )


def _schedules(recipe, model, clock):
    callbacks = []
    if "p_schedule" in recipe:
        if not hasattr(model, "schedule_p"):
            raise ValueError(f"p_schedule is for ℓ∞-distance networks, not a {_kind(model)}")
        schedule = dict(recipe["p_schedule"])
        last_weight = schedule.pop("cross_entropy_weight_last", None)
        if last_weight is not None:
            weights = (recipe["model"].get("cross_entropy_weight", 0.0), last_weight)
            if not min(weights) > 0:
                raise ValueError("a decaying cross_entropy_weight needs a positive first and last")
            schedule["cross_entropy_weight"] = weights
        callbacks.append(PSchedule(**schedule, clock=clock))
    if "epsilon_schedule" in recipe:
        if not isinstance(model, TrainingEpsilon):
            raise ValueError(f"the loss of a {_kind(model)} has no budget for epsilon_schedule")
        epochs = recipe["epsilon_schedule"]["epochs"]
        callbacks.append(EpsilonSchedule(float(model.epsilon), epochs, clock))
    if clock.limit is not None:
        settings = recipe["training"]
        callbacks.append(
            LearningRateSchedule(settings["learning_rate"], clock, settings.get("drops"))
        )
    return callbacks


def _kind(model):
    return type(model).__name__


def _validate(model, images, budgets, verbose):
    certificate = model.certify(images.images, verbose=verbose)
    certified = [
        {"eps": str(eps), "accuracy": certificate.accuracy(images.labels, eps)} for eps in budgets
    ]
    clean = float((certificate.prediction == images.labels).mean())
    return {"n": len(images), "clean": clean, "certified": certified}
