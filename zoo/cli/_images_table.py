"""The rows of a command's result, one for each image."""

from typing import TYPE_CHECKING

from zoo.utils.table import Column, Table

if TYPE_CHECKING:
    from zoo.data import ImageSet

# A terminal shows this many rows.
_SHOWN = 20


def with_names(table: Table, images: "ImageSet") -> Table:
    """A table with the names of the files, and of the classes instead of their numbers.

    Args:
        table: table with a row for each image and the column ``image``.
        images: :class:`zoo.data.ImageSet` of these images.
    """
    names = images.class_names

    def shown(column: Column) -> Column:
        if names is None or column.name not in ("label", "prediction", "attacked"):
            return column
        called = [names[i] if i < len(names) else str(i) for i in column.values]
        return Column(column.name, called, left=True)

    first, *others = map(shown, table.columns)
    files = [] if images.files is None else [Column("file", images.files, left=True)]
    return Table([first, *files, *others])


def text(table: Table) -> str:
    """The first rows as text, and how to get the others."""
    more = len(table) - _SHOWN
    rest = f"\n… and {more} more; --csv FILE writes all" if more > 0 else ""
    return f"{table.head(_SHOWN)}{rest}"
