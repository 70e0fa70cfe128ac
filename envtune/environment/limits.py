"""What one call may cost. Past a limit the model gets an ordinary tool error, and nothing has been changed.

Hundreds of episodes share one thread, so a call must end in a fraction of a second whatever its arguments are. All
tools are short programs whose work is bounded by the size of their arguments and of their state; these limits bound
both, far above anything in BFCL's data, so results below them are BFCL's to the byte. No clock is involved: the same
call gives the same result on a slow machine. tests/environment/test_limits.py drives every tool to the limits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

MAX_CALL_CHARACTERS = 100_000
MAX_RESULT_CHARACTERS = 1_000_000
MAX_INTEGER = 10**400
LIMIT = "limit of this environment: "


class LimitExceeded(ValueError):
    """A call costs more than it may. The text says which limit it was."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{LIMIT}{what}")


# Tools whose work grows with a number: past these values upstream does not come back (power(10, 1e8) runs for
# minutes). The largest values in any ground truth are far below.
_BOUNDED: Mapping[tuple[str, str], int] = MappingProxyType(
    {("power", "exponent"): 10_000, ("logarithm", "precision"): 1_000, ("square_root", "precision"): 1_000}
)


def refuse_costly(tool: str, instance: Any, positional: list[Any], keywords: Mapping[str, Any]) -> None:
    """Raise LimitExceeded for a call whose work would not end in reasonable time."""
    for (bounded, parameter), limit in _BOUNDED.items():
        if tool != bounded:
            continue
        for value in (keywords.get(parameter), *positional):
            if isinstance(value, (int, float)) and abs(value) > limit:
                raise LimitExceeded(f"{parameter} must be at most {limit} in size")
