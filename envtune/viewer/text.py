"""Text of a model, a tool or a file made fit to be shown: nothing in it can steer a terminal, and long text is cut.

Both commands show text from here only, so what is true of it holds on the terminal and in the page.
"""

from __future__ import annotations

import unicodedata
from typing import Any

# Invisible characters that change how their neighbours are drawn; the two joiners belong to ordinary words and emoji.
_JOINERS = "\u200c\u200d"
_HIDDEN = ("Cc", "Cf", "Cs", "Zl", "Zp")

Shown = str | dict[str, Any]
"""Text to show: whole, or {"head", "tail", "left"} with the number of characters left out between the two."""


def visible(text: str) -> str:
    """`text` with control characters, direction marks and lone surrogates written as escapes (\\x1b); new lines and
    tabs stay."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escape(c) if c not in "\n\t" and unicodedata.category(c) in _HIDDEN else c for c in text)


def _escape(character: str) -> str:
    number = ord(character)
    if character in _JOINERS:
        return character
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def show(text: str, limit: int | None = None) -> Shown:
    """`text`, visible; past `limit` characters only its first three quarters of them and its last quarter."""
    if limit is None or len(text) <= limit:
        return visible(text)
    tail = limit // 4
    head = limit - tail
    return {"head": visible(text[:head]), "tail": visible(text[len(text) - tail :]), "left": len(text) - limit}
