"""A hook for mkdocs, which turns formulas into MathML: browsers draw it without any script."""

import html as html_text
import re

from latex2mathml.converter import convert

# What the extension pymdownx.arithmatex makes of $...$ and of $$...$$.
_FORMULA = re.compile(
    r'<(span|div) class="arithmatex">\\([(\[])(?P<latex>.*?)\\[)\]]</\1>', re.DOTALL
)


def on_page_content(html, **_):
    return _FORMULA.sub(_mathml, html)


def _mathml(formula):
    latex = html_text.unescape(formula["latex"]).strip()
    if formula[1] == "span":
        return convert(latex)
    return f'<div class="formula">{convert(latex, display="block")}</div>'
