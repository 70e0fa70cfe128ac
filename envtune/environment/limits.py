"""What a call may cost. Past a limit the model gets an ordinary tool error that says which one it was.

Hundreds of episodes share one thread, so a call must end in a fraction of a second whatever a model wrote. BFCL's tools
are short programs whose work is bounded by the size of their arguments and of their state, so bounding these bounds
time and memory without a clock, and the same call gives the same result on a slow machine. The limits lie far above
anything in BFCL's data (its longest call has 6,839 characters, its longest result 31,706, all text of one episode
70,557), and below them every result is BFCL's to the byte. A refused call has changed nothing; the one exception is a
result that is too long, whose call has run.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

MAX_CALL_CHARACTERS = 20_000
MAX_RESULT_CHARACTERS = 250_000  # no tool that changes something returns more than 12 times its arguments
MAX_EPISODE_CHARACTERS = 2_000_000
MAX_INTEGER = 10**400
MAX_PRECISION = 1_000
MAX_NUMERAL = 100  # characters of a number given as a string: mpmath takes those, and their exponents too
MAX_DATE = 1_000  # characters of get_flight_cost's date, which long context writes into 150 routes
MAX_FILES = 10_000
MAX_DEPTH = 200
PYTHONS_DIGITS = 4_300  # of an integer that Python turns into text

_NUMERAL = re.compile(r"[\s\d_.eE+/-]*")  # other text is no number, which upstream finds at once
LIMIT = "limit of this environment: "


class LimitExceeded(ValueError):
    """A call costs more than it may. The text says which limit it was."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{LIMIT}{what}")


def refuse_costly(tool: str, instance: Any, arguments: Mapping[str, Any]) -> None:
    """Raise LimitExceeded for a call whose work its size does not bound. `arguments`: by parameter name."""
    check = _CHECKS.get(tool)
    if check is not None:
        check(instance, arguments)


def is_bounded(tool: str) -> bool:
    """Whether `refuse_costly` has something to check for this tool."""
    return tool in _CHECKS


def _power(_: Any, arguments: Mapping[str, Any]) -> None:
    """An integer that Python would not write fails upstream after it was worked out; here, before."""
    base, exponent = arguments.get("base"), arguments.get("exponent")
    if not isinstance(base, int) or not isinstance(exponent, int) or abs(base) < 2 or exponent < 1:
        return
    if exponent * math.log10(abs(base)) > PYTHONS_DIGITS + 1:
        str(10 ** (PYTHONS_DIGITS + 1))  # raises with Python's own words, which are what upstream gives


def _precision(_: Any, arguments: Mapping[str, Any]) -> None:
    if _size(arguments.get("precision")) > MAX_PRECISION:
        raise LimitExceeded(f"precision is at most {MAX_PRECISION}")
    for name in ("value", "base", "number"):
        value = arguments.get(name)
        if isinstance(value, str) and len(value) > MAX_NUMERAL and _NUMERAL.fullmatch(value):
            raise LimitExceeded(f"{name} has at most {MAX_NUMERAL} characters when it is a string")


def _decimal_places(_: Any, arguments: Mapping[str, Any]) -> None:
    if isinstance(arguments.get("number"), int) and _size(arguments.get("decimal_places")) > MAX_PRECISION:
        raise LimitExceeded(f"decimal_places is at most {MAX_PRECISION} in size")


def _travel_date(_: Any, arguments: Mapping[str, Any]) -> None:
    date = arguments.get("travel_date")
    if isinstance(date, (str, bytes, list, tuple)) and len(date) > MAX_DATE:
        raise LimitExceeded(f"travel_date has at most {MAX_DATE} characters")


def _tree(instance: Any, _: Mapping[str, Any]) -> None:
    """What walks the file system must end: copies share sub-directories, so a few calls make a tree that has more paths
    than memory, and a directory may be inside itself."""
    files = characters = 0
    left = [(instance.root, 0, 0), (instance._current_dir, 0, 0)]
    while left:
        directory, depth, path = left.pop()
        for name, item in directory.contents.items():
            below = path + len(str(name)) + 1
            content = getattr(item, "content", None)  # a tool may have written any value there
            files, characters = files + 1, characters + below + (len(content) if isinstance(content, str) else 0)
            if files > MAX_FILES or depth > MAX_DEPTH or characters > MAX_EPISODE_CHARACTERS:
                raise LimitExceeded(
                    f"the file system is too large to walk: at most {MAX_FILES} files, {MAX_DEPTH} levels and "
                    f"{MAX_EPISODE_CHARACTERS} characters"
                )
            if hasattr(item, "contents"):
                left.append((item, depth + 1, below))


def _size(value: Any) -> float:
    """The size of what upstream may take for a number; 0 for what it will not."""
    if isinstance(value, (str, bytes)):
        try:
            value = int(value)
        except ValueError:
            return 0
    return abs(value) if isinstance(value, (int, float)) else 0


_CHECKS: Mapping[str, Callable[[Any, Mapping[str, Any]], None]] = MappingProxyType(
    {
        "power": _power,
        "logarithm": _precision,
        "square_root": _precision,
        "round_number": _decimal_places,
        "get_flight_cost": _travel_date,
        "find": _tree,
        "du": _tree,
    }
)
