"""Fail unless the version of a release is the same everywhere: ``python release_version.py 1.2.3``.

It needs nothing but Python, because it runs before anything is built.
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent


def found_versions(root: pathlib.Path = ROOT) -> dict[str, str | None]:
    """The version that each file names; None if it names none.

    Args:
        root: root of the source tree.
    """
    places = {
        "zoo/__init__.py": r'^__version__ = "([^"]+)"$',
        "CITATION.cff": r"^version: (\S+)$",
        # The first section of a version; "Unreleased" is above it.
        "CHANGELOG.md": r"^## \[(\d[^]]*)\] - \d{4}-\d\d-\d\d$",
    }
    found = {}
    for place, pattern in places.items():
        match = re.search(pattern, (root / place).read_text(encoding="utf-8"), re.MULTILINE)
        found[place] = match[1] if match else None
    return found


def main(version: str, root: pathlib.Path = ROOT) -> int:
    """Print each file that names another version; returns the exit code."""
    wrong = {place: found for place, found in found_versions(root).items() if found != version}
    for place, found in wrong.items():
        print(f"{place} names the version {found}, not {version}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
