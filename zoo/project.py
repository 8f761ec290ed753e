"""Where the project is found."""

#: Page of the package in the index, from which ``pip install`` takes it.
INDEX = "https://pypi.org/project/certified-zoo/"
#: The repository with the recipes and the model cards.
REPOSITORY = "https://github.com/certified-zoo/certified-zoo"
#: The documentation, whose pages are below this address.
DOCUMENTATION = "https://certified-zoo.github.io/certified-zoo/"

_APPROACH_PAGES = {
    "crt": "second_order",
    "double-backprop": "double_backprop",
    "l2nnn": "l2nnn",
    "lc-lmt": "lipschitz_margin",
    "linf-dist": "linf_dist",
    "lmt": "lipschitz_margin",
}


def approach_page(approach: str) -> str:
    """Address of the documentation of an approach; of the whole documentation for an unknown one.

    Examples:
        >>> from zoo.project import approach_page
        >>> approach_page("linf-dist")
        'https://certified-zoo.github.io/certified-zoo/linf_dist/'
    """
    page = _APPROACH_PAGES.get(approach)
    return DOCUMENTATION if page is None else f"{DOCUMENTATION}{page}/"


def source_page(path: str) -> str:
    """Address of a file of the repository, such as ``"MODELS.md"``."""
    return f"{REPOSITORY}/blob/main/{path}"
