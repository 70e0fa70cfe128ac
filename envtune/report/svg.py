"""A figure's file as an element of a page."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from html import escape
from pathlib import Path

from envtune.errors import EnvtuneError

_SVG = "http://www.w3.org/2000/svg"
_DC = "http://purl.org/dc/elements/1.1/"


@dataclass(frozen=True)
class Inline:
    """An SVG element without a size of its own, and what it is called and shows."""

    name: str
    title: str
    description: str
    element: str


def inline_svg(path: Path) -> Inline:
    """The figure in `path`, fit to stand in a page beside others: no metadata, style for it alone, and ids of its own.

    Raises EnvtuneError when the file is no SVG.
    """
    try:
        text = path.read_text(encoding="utf-8")
        root = ET.fromstring(text)
    except (OSError, UnicodeDecodeError, ET.ParseError) as error:
        raise EnvtuneError(f"{path} cannot be read ({error}); `envtune figures` writes it anew") from error
    if root.tag != f"{{{_SVG}}}svg":
        raise EnvtuneError(f"{path} is no SVG; `envtune figures` writes it anew")
    described = root.find(f".//{{{_DC}}}description")
    titled = root.find(f"{{{_SVG}}}title")
    title = (titled.text if titled is not None else None) or path.stem
    description = (described.text if described is not None else None) or ""
    return Inline(path.stem, title, description, _element(text[text.index("<svg") :], path.stem, title))


def _element(text: str, name: str, title: str) -> str:
    """The text of an svg element as part of a page. Text, not a tree: ElementTree would rename the namespaces."""
    text = re.sub(r"<metadata>.*?</metadata>|<title>.*?</title>", "", text, flags=re.DOTALL)
    text = re.sub(r'(\bid="|\bxlink:href="#|url\(#)', rf"\g<1>{name}-", text)
    text = text.replace("*{", f"#{name} *{{", 1)  # matplotlib's style would be the whole page's
    head, end, rest = text.partition(">")
    head = re.sub(r'\s(?:width|height)="[^"]*"', "", head)
    return f'{head} id="{name}" role="img" aria-label="{escape(title, quote=True)}"{end}{rest}'.strip()
