"""Where the project is found."""

#: Page of the package in the index, from which ``pip install`` takes it.
INDEX = "https://pypi.org/project/certified-zoo/"
