"""``python -m training NAME``: train the model of a recipe, measure it and write its entry."""

import argparse
import pathlib
import sys

from training import recipe as recipes
from zoo.errors import ZooError
from zoo.utils.backend import start_in_float32
from zoo.utils.terminal import print_any_character

# Options that work on a checkpoint instead of training.
_MODES = ("cost", "attacks", "certify", "seeds")


def main(arguments=None):
    parser = argparse.ArgumentParser(
        prog="python -m training",
        description="Train the checkpoint of a recipe. The state of a run is saved every two "
        "minutes and on Ctrl-C, and the same command continues an interrupted run. If TF_CONFIG is "
        "set, this process trains as one of several workers.",
    )
    parser.add_argument("recipe", help="name of a recipe, or the path of a .toml file")
    parser.add_argument(
        "--data",
        help="an .npz file with x_train, y_train, x_test, y_test; give it again to continue a run",
    )
    parser.add_argument("--out", type=pathlib.Path, help="folder of the run (default: runs/NAME)")
    parser.add_argument(
        "--epochs",
        type=int,
        help="stop after this many epochs; the same command without it continues the run",
    )
    parser.add_argument(
        "--minutes",
        type=float,
        help="train for this time, over all calls, instead of the recipe's number of epochs; the "
        "recipe's schedules are stretched over the time. Loading the data before the training and "
        "the validation after it take extra time",
    )
    parser.add_argument(
        "--measure",
        action="store_true",
        help="afterwards, measure on the test set, copy the weights to weights/NAME and write the "
        "manifest entry",
    )
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument(
        "--cost",
        action="store_true",
        help="instead of training, time the certificate of the shipped checkpoint, and write the "
        "time into its manifest entry",
    )
    instead.add_argument(
        "--attacks",
        action="store_true",
        help="instead of training, attack the shipped checkpoint as the recipe says, and write the "
        "results into its manifest entry and its card",
    )
    instead.add_argument(
        "--certify",
        action="store_true",
        help="instead of training, certify the measured test images of the shipped checkpoint, and "
        "write the certified accuracies into its manifest entry, and the accuracy at every budget "
        "into curve.json beside the weights, and into the card",
    )
    instead.add_argument(
        "--seeds",
        type=int,
        metavar="N",
        help="train with N - 1 further seeds, each in a folder of its own, and write the mean and "
        "the standard deviation of the accuracies, with those of the shipped checkpoint, into its "
        "manifest entry and its card",
    )
    parser.add_argument(
        "--data-parallel",
        action="store_true",
        help="split each batch over all devices of this machine (KERAS_BACKEND=jax)",
    )
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    print_any_character()
    options = parser.parse_args(arguments)
    _refuse_ignored(parser, options)
    verbose = 0 if options.quiet else 1
    try:
        start_in_float32()
        recipe = recipes.load(options.recipe)
        if options.measure or any(getattr(options, mode) for mode in _MODES):
            recipes.require_checkpoint(options.recipe)
        recipes.import_module(recipe)
        if options.cost:
            from training.measure import measure_cost

            name = recipe["name"]
            cost = measure_cost(name)
            print(f"{name}: {cost.method}, {cost}")
            return 0
        if options.certify:
            from training.measure import measure_certificates

            print(measure_certificates(recipe["name"], recipe, verbose=verbose))
            return 0
        if options.seeds is not None:
            from training.seeds import train_seeds

            print(
                train_seeds(
                    recipe, options.seeds, options.out, data_file=options.data, verbose=verbose
                )
            )
            return 0
        if options.attacks:
            from training.measure import measure_attacks

            print(measure_attacks(recipe["name"], recipe, verbose=verbose))
            return 0
        from training.run import train
        from training.workers import Workers

        workers = Workers.from_environment()
        if options.data_parallel:
            from training.devices import use_all_devices

            use_all_devices(recipe["training"]["batch_size"])
        if options.measure:
            from training.measure import check

            whole = recipe["training"]["epochs"]
            if options.epochs is not None and options.epochs < whole:
                raise ValueError(f"--measure needs all {whole} epochs; leave out --epochs")
            if workers.is_chief:
                check(recipe, data_file=options.data)
        folder = options.out or pathlib.Path("runs") / recipe["name"]
        train(
            recipe,
            folder,
            data_file=options.data,
            epochs=options.epochs,
            minutes=options.minutes,
            workers=workers,
            verbose=verbose,
        )
        if not workers.is_chief:
            return 0
        print(f"{recipe['name']}: checkpoint and run.json are in {folder}")
        if options.measure:
            from training.measure import measure

            print(measure(recipe, folder, data_file=options.data, verbose=verbose))
    except KeyboardInterrupt as interruption:
        where = str(interruption) or "the same command goes on from the last saved state, if any"
        print(f"interrupted; {where}", file=sys.stderr)
        return 130
    except (ZooError, ValueError, TypeError, OSError, RuntimeError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _refuse_ignored(parser, options):
    """End with an error if an option was given that another one makes meaningless."""

    def given(option):
        value = getattr(options, option)
        return value is not None and value is not False

    of_training = ("data", "out", "epochs", "minutes", "measure", "data_parallel")
    for mode in _MODES:
        if not given(mode):
            continue
        kept = ("data", "out") if mode == "seeds" else ()
        for option in of_training:
            if option not in kept and given(option):
                parser.error(f"--{option.replace('_', '-')} has no effect with --{mode}")


if __name__ == "__main__":
    sys.exit(main())
