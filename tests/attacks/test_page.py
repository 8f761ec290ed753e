"""The page about attacks shows what the registry has."""

import dataclasses
import pathlib

import zoo
from zoo.attacks import ATTACKS

PAGE = pathlib.Path(zoo.__file__).parent.parent / "docs" / "attacks.md"


def test_the_page_shows_every_attack_and_parameter():
    source = PAGE.read_text(encoding="utf-8")
    lines = source.split("\n")
    assert "| `spsa` | `SPSA` | ℓ∞ | TensorFlow |" in "\n".join(lines)
    assert "| `pgd` | `step_size` | `eps_iter` |" in lines
    for name, kind in ATTACKS.items():
        (_,) = [line for line in lines if line.startswith(f"| `{name}` | `{kind.__name__}` |")]
        for field in dataclasses.fields(kind):
            start = (
                f"| `{name}` | `{field.name}` | `{field.default!r}` | {field.metadata['help']} |"
            )
            assert lines.count(start) == 1
