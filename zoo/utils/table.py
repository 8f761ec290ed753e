"""Tables of results: as text, CSV, HTML and LaTeX, and as pandas' data frames."""

import csv
import dataclasses
import html
import io
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

_LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "∞": r"$\infty$",
        "ℓ": r"$\ell$",
        "≥": r"$\geq$",
        **{character: "\\" + character for character in "&%$#_{}"},
    }
)


@dataclasses.dataclass(frozen=True, eq=False)
class Column:
    """One column of a table.

    Attributes:
        name: heading.
        values: list or array with a value for each row; None where there is none.
        show: function from a value to its text.
        left: whether the texts are aligned at their left ends; numbers are at their right ends.
    """

    name: str
    values: Sequence[Any] | np.ndarray
    show: Callable[[Any], str] = str
    left: bool = False

    def texts(self, missing: str = "-") -> list[str]:
        """The values as text, with another text in place of None."""
        return [missing if value is None else self.show(value) for value in self.values]

    def plain(self) -> list[Any]:
        """The values as Python's own numbers and texts, in full precision."""
        return [value.item() if isinstance(value, np.generic) else value for value in self.values]


@dataclasses.dataclass(frozen=True, eq=False)
class Table:
    """Columns of equal length; ``str()`` of a table is its text.

    Attributes:
        columns: list of :class:`Column`.

    Examples:
        >>> from zoo.utils.table import Column, Table
        >>> print(Table([Column("model", ["a", "b2"], left=True), Column("radius", [0.5, None])]))
        model  radius
        a         0.5
        b2          -
    """

    columns: Sequence[Column]

    def __len__(self) -> int:
        return len(self.columns[0].values) if self.columns else 0

    def __str__(self) -> str:
        cells = [[column.name, *column.texts()] for column in self.columns]
        widths = [max(map(len, texts)) for texts in cells]
        lines = []
        for row in zip(*cells, strict=True):
            aligned = [
                cell.ljust(width) if column.left else cell.rjust(width)
                for cell, width, column in zip(row, widths, self.columns, strict=True)
            ]
            lines.append("  ".join(aligned).rstrip())
        return "\n".join(lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return self.to_html()

    @property
    def width(self) -> int:
        """The length of the longest line of the text."""
        return max(map(len, str(self).splitlines()), default=0)

    def head(self, count: int) -> "Table":
        """The first rows of the table."""
        shorter = [dataclasses.replace(c, values=c.values[:count]) for c in self.columns]
        return Table(shorter)

    def to_csv(self) -> str:
        """The table as CSV text with a line of headings; numbers are in full precision."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([column.name for column in self.columns])
        writer.writerows(zip(*(column.plain() for column in self.columns), strict=True))
        return text.getvalue()

    def to_html(self) -> str:
        """The table as HTML, as a notebook shows it."""

        def row(kind: str, texts: Sequence[str]) -> str:
            cells = zip(texts, self.columns, strict=True)
            return "".join(
                f'<{kind} style="text-align:{"left" if column.left else "right"}">'
                f"{html.escape(text)}</{kind}>"
                for text, column in cells
            )

        head = row("th", [column.name for column in self.columns])
        body = zip(*(column.texts() for column in self.columns), strict=True)
        rows = "\n".join(f"<tr>{row('td', texts)}</tr>" for texts in body)
        return f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table>"

    def to_latex(self) -> str:
        r"""The table as a LaTeX ``tabular``, which needs ``\usepackage{booktabs}``."""

        def row(texts: Sequence[str]) -> str:
            return " & ".join(text.translate(_LATEX) for text in texts) + r" \\"

        alignment = "".join("l" if column.left else "r" for column in self.columns)
        return "\n".join(
            [
                rf"\begin{{tabular}}{{{alignment}}}",
                r"\toprule",
                row([column.name for column in self.columns]),
                r"\midrule",
                *map(row, zip(*(column.texts("--") for column in self.columns), strict=True)),
                r"\bottomrule",
                r"\end{tabular}",
            ]
        )

    def to_frame(self) -> Any:
        """The table as a ``pandas.DataFrame``, with numbers in full precision.

        Raises:
            ImportError: if pandas is not installed.
        """
        try:
            import pandas  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            raise ImportError(
                "a data frame needs pandas, which is not installed: pip install pandas"
            ) from error
        return pandas.DataFrame({column.name: column.plain() for column in self.columns})


def percent(fraction: float) -> str:
    """A fraction as text, in percent; NaN, the share of no images, is a dash.

    Examples:
        >>> from zoo.utils.table import percent
        >>> percent(0.884), percent(float("nan"))
        ('88.40%', '-')
    """
    return "-" if np.isnan(fraction) else f"{100 * fraction:.2f}%"


def floor_text(value: float, digits: int = 6) -> str:
    """A number as text with this many decimals, rounded down: a bound must not grow in print.

    Examples:
        >>> from zoo.utils.table import floor_text
        >>> floor_text(0.75), floor_text(0.299, 2)
        ('0.750000', '0.29')
    """
    from decimal import ROUND_FLOOR, Decimal

    if not np.isfinite(value):
        return str(float(value))
    return str(Decimal(float(value)).quantize(Decimal(1).scaleb(-digits), ROUND_FLOOR))


def yes_or_no(value: Any) -> str:
    """``"yes"`` or ``"no"``."""
    return "yes" if value else "no"
