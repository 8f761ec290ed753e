"""Format a table as Markdown."""


def markdown(table):
    """A table as Markdown text.

    Args:
        table: table, as :func:`training.tables.rows.tables` returns it.
    """
    columns = list(table["rows"][0])
    rules = ["---" if column in table["text"] else "---:" for column in columns]
    rows = [[cell(row[column]) for column in columns] for row in table["rows"]]
    lines = [f"| {' | '.join(cells)} |" for cells in (columns, rules, *rows)]
    return "\n".join([f"**{table['title']}**", "", *lines, "", table["caption"], ""])


def cell(value):
    """The text of a cell; a dash stands for None."""
    if value is None:
        return "–"
    return f"{value:g}" if isinstance(value, float) else str(value)
