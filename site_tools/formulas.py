"""A hook for mkdocs, which turns formulas into MathML: browsers draw it without any script."""

import html as html_text
import re

from latex2mathml.converter import convert

# What the extension pymdownx.arithmatex makes of $...$ and of $$...$$, and punctuation behind it.
_FORMULA = re.compile(
    r'<(span|div) class="arithmatex">\\([(\[])(?P<latex>.*?)\\[)\]]</\1>(?P<end>[.,;:)]*)',
    re.DOTALL,
)


def on_page_content(html, **_):
    return _FORMULA.sub(_mathml, html)


def _mathml(formula):
    latex = html_text.unescape(formula["latex"]).strip()
    if formula[1] == "span":
        # A browser may begin a new line behind a formula; punctuation stays with it.
        return f'<span class="inline-formula">{convert(latex)}{formula["end"]}</span>'
    return f'<div class="formula">{convert(latex, display="block")}</div>{formula["end"]}'
