"""The registered attacks and their parameters as flags of a command."""

import argparse
import ast
import contextlib
import dataclasses

from zoo.attacks.registry import ATTACKS, checked_attack

# What begins the names under which the parser keeps the values of these flags.
_PREFIX = "attack_parameter_"


def add_attack_flags(parser):
    """Add ``--attack`` and a flag for each parameter of a registered attack, as ``--step-size``.

    The flag's help says which attacks have the parameter, what it is and the default.

    Args:
        parser: :class:`argparse.ArgumentParser` of a command that has its other options already.
    """
    names = ", ".join(ATTACKS)
    parser.add_argument("--attack", default="pgd", help=f"one of {names} (default: %(default)s)")
    group = parser.add_argument_group("parameters of the attack")
    for name, texts in _described_parameters().items():
        # A parameter with the name of an option of the command is for Python alone.
        with contextlib.suppress(argparse.ArgumentError):
            group.add_argument(
                "--" + name.replace("_", "-"),
                dest=_PREFIX + name,
                type=_value,
                # A flag that is not given leaves nothing, because None may be given.
                default=argparse.SUPPRESS,
                metavar="VALUE",
                help="; ".join(texts).replace("%", "%%"),
            )


def attack_from(options):
    """The attack that the options of a command choose.

    Args:
        options: what a parser with ``--norm`` and :func:`add_attack_flags` returned.

    Returns:
        :class:`zoo.attacks.Attack`.

    Raises:
        TypeError, ValueError, NotImplementedError: as :func:`zoo.attacks.check_settings`.
    """
    params = {
        name.removeprefix(_PREFIX): value
        for name, value in vars(options).items()
        if name.startswith(_PREFIX)
    }
    return checked_attack(options.attack, options.norm, params)


def _described_parameters():
    """For each parameter's name what it is, once for all attacks that describe it alike."""
    attacks_of = {}
    for attack, kind in ATTACKS.items():
        for field in dataclasses.fields(kind):
            text = f"{field.metadata.get('help', '')} (default: {field.default})"
            attacks_of.setdefault(field.name, {}).setdefault(text, []).append(attack)
    return {
        name: [f"{', '.join(attacks)}: {text}" for text, attacks in by_text.items()]
        for name, by_text in attacks_of.items()
    }


def _value(text):
    """A number, True, False or None for a text that reads so; any other text as it is."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
