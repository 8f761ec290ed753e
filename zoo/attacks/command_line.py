"""Command-line flags for the registered attacks and their parameters."""

import argparse
import ast
import contextlib
import dataclasses
import fractions
import re

from zoo.attacks.registry import ATTACKS, checked_attack

# Prefix of the names under which the parser stores the values of these flags.
_PREFIX = "attack_parameter_"


def add_attack_flags(parser):
    """Add ``--attack`` and a flag for each parameter of an attack, such as ``--step-size``.

    The help of a flag names the attacks that have the parameter, describes it and gives its
    default.

    Args:
        parser: :class:`argparse.ArgumentParser` of a command, which already has all its other
            options.
    """
    names = ", ".join(ATTACKS)
    parser.add_argument("--attack", default="pgd", help=f"one of {names} (default: %(default)s)")
    group = parser.add_argument_group("parameters of the attack")
    for name, texts in _described_parameters().items():
        # A parameter whose flag is already an option of the command can only be set in Python.
        with contextlib.suppress(argparse.ArgumentError):
            group.add_argument(
                _flag(name),
                dest=_PREFIX + name,
                type=_value,
                # A missing flag must leave no entry, because None can be a given value.
                default=argparse.SUPPRESS,
                metavar="VALUE",
                help="; ".join(texts).replace("%", "%%"),
            )


def attack_from(options):
    """The attack that the options of a command choose.

    Args:
        options: options from a parser that has ``--norm`` and the flags of
            :func:`add_attack_flags`.

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
    try:
        return checked_attack(options.attack, options.norm, params)
    except (TypeError, ValueError) as error:
        if not params:
            raise
        names = rf"\b({'|'.join(params)})\b"
        raise type(error)(re.sub(names, lambda name: _flag(name[0]), str(error))) from error


def _described_parameters():
    """A dictionary from the name of each parameter to its descriptions.

    Attacks that describe a parameter in the same words share one description.
    """
    attacks_of = {}
    for attack, kind in ATTACKS.items():
        for field in dataclasses.fields(kind):
            text = f"{field.metadata.get('help', '')} (default: {field.default})"
            attacks_of.setdefault(field.name, {}).setdefault(text, []).append(attack)
    return {
        name: [f"{', '.join(attacks)}: {text}" for text, attacks in by_text.items()]
        for name, by_text in attacks_of.items()
    }


def _flag(name):
    return "--" + name.replace("_", "-")


def _value(text):
    """What a text stands for: a Python literal, such as a number or None, a fraction, or itself."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    with contextlib.suppress(ValueError, SyntaxError):
        return ast.literal_eval(text)
    with contextlib.suppress(ValueError, ZeroDivisionError):
        return float(fractions.Fraction(text))
    return text
