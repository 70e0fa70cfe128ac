"""Actionable feedback: what the model is told, beside the standard result, when a call fails (paper, section 3.2).

A hint is a pure function of the call, its standard result and the tools on offer. It changes only what the model
reads: state, checks and rewards see the standard result. Two kinds, named as the paper names them: a *dependency*
says which tool finds the value that was wrong; a *constraint* says what values the tool takes. Here are hints for
the three domains that the authors' release touches, in our words, leaving out its untrue ones.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

from envtune.environment.executor import CallResult
from envtune.environment.reply import ToolCall


class HintKind(StrEnum):
    """What a hint uncovers."""

    DEPENDENCY = "dependency"
    """The tool to call to get the value that was wrong or missing."""
    CONSTRAINT = "constraint"
    """The values or forms that this tool accepts."""


@dataclass(frozen=True)
class Hint:
    """One row of the table.

    id: stable name, for records and ablations; tools: which tools it is for; when: pattern searched in the failed
    call's standard result; path: only when an argument of the call has a slash (True) or none has (False), None for
    both; text: what the model is told; helper: the tool that the text names, which must be on offer.
    """

    id: str
    kind: HintKind
    tools: frozenset[str]
    when: re.Pattern[str]
    text: str
    path: bool | None = None
    helper: str | None = None

    def applies(self, call: ToolCall, result: CallResult, on_offer: Collection[str]) -> bool:
        """Whether the hint is for this failed call, and names no tool that the model does not have."""
        if call.name not in self.tools or (self.helper is not None and self.helper not in on_offer):
            return False
        if self.path is not None and self.path != _has_path(call):
            return False
        return self.when.search(result.text) is not None


def _has_path(call: ToolCall) -> bool:
    return any("/" in value for name, value in call.arguments.items() if name != "content" and isinstance(value, str))


def _hint(
    id: str, kind: HintKind, tools: str, when: str, text: str, path: bool | None = None, helper: str | None = None
) -> Hint:
    return Hint(id, kind, frozenset(tools.split()), re.compile(when), text, path, helper)


_DEPENDENCY, _CONSTRAINT = HintKind.DEPENDENCY, HintKind.CONSTRAINT
_IN_FOLDER = "cat cp diff grep mv rm rmdir sort tail wc"

# The first row that applies is used: the specific before the general.
HINTS: tuple[Hint, ...] = (
    # GorillaFileSystem
    _hint("fs.cd.path", _CONSTRAINT, "cd", r"[Nn]o such (file or )?directory|Unsupported path",
          "Change one directory at a time: call cd once for each part of the path.", path=True),
    _hint("fs.cd.missing", _DEPENDENCY, "cd", r"[Nn]o such (file or )?directory",
          "This directory has none of that name. Call ls to see what it has.", path=False, helper="ls"),
    _hint("fs.cd.root", _CONSTRAINT, "cd", r"already the root", "This is the top directory: '..' leads nowhere."),
    _hint("fs.make.path", _CONSTRAINT, "mkdir touch echo", r"[Ii]nvalid character",
          "Give a plain name without '/': it is made in the current directory. Use cd first for another one.",
          path=True, helper="cd"),
    _hint("fs.make.characters", _CONSTRAINT, "mkdir touch echo cat", r"[Ii]nvalid character",
          "A name must not contain any of | / \\ ? % * : \" > <"),
    _hint("fs.make.taken", _CONSTRAINT, "mkdir touch", r"[Ff]ile exists",
          "The current directory has that name already; it can be used as it is."),
    _hint("fs.destination.path", _CONSTRAINT, "mv cp", r"path (not allowed )?in destination|no path allowed",
          "The destination is one plain name: a directory that is in the current directory, or a new file name."),
    _hint("fs.destination.taken", _CONSTRAINT, "mv cp", r"[Ff]ile exists|already exists",
          "The destination has an entry of that name, and nothing is overwritten."),
    _hint("fs.name.path", _CONSTRAINT, _IN_FOLDER, r"[Nn]o such file|cannot (move|copy|remove)|failed to remove",
          "Paths are not accepted here: use cd to go to the directory, then give the plain name.",
          path=True, helper="cd"),
    _hint("fs.directory", _CONSTRAINT, "cat echo sort tail wc grep diff", r"[Ii]s a directory|_write",
          "That name is a directory; this tool needs a file."),
    _hint("fs.name.find", _DEPENDENCY, _IN_FOLDER, r"[Nn]o such (file|directory)",
          "The current directory has no such entry. Call find to see where it is, then cd there.",
          path=False, helper="find"),
    _hint("fs.name.ls", _DEPENDENCY, _IN_FOLDER, r"[Nn]o such (file|directory)",
          "The current directory has no such entry. Call ls to see what it has.", path=False, helper="ls"),
    _hint("fs.rmdir.full", _CONSTRAINT, "rmdir", r"not empty",
          "Only an empty directory can be removed: remove what is in it first."),
    # TravelAPI
    _hint("travel.airport.city", _DEPENDENCY, "get_flight_cost book_flight", r"[Nn]o available route",
          "Airports are given by three-letter codes. Call get_nearest_airport_by_city for the code of a city.",
          helper="get_nearest_airport_by_city"),
    _hint("travel.airport.list", _DEPENDENCY, "get_flight_cost book_flight", r"[Nn]o available route",
          "Airports are given by three-letter codes. Call list_all_airports to see them.",
          helper="list_all_airports"),
    _hint("travel.route", _CONSTRAINT, "get_flight_cost", r"[Nn]o available route",
          "Airports are given by three-letter codes, and not every pair has a route."),
    _hint("travel.currency", _CONSTRAINT, "compute_exchange_rate", r"[Nn]o available exchange rate|exchange rate",
          "Currencies are given by three-letter codes, and rates exist only between USD and another currency."),
    # VehicleControlAPI
    _hint("vehicle.weather", _DEPENDENCY, "get_outside_temperature_from_weather_com", r"404",
          "This service does not answer. Call get_outside_temperature_from_google instead.",
          helper="get_outside_temperature_from_google"),
    _hint("vehicle.distance", _DEPENDENCY, "estimate_distance", r"[Dd]istance not found",
          "No distance is known for this pair of zip codes. Call get_zipcode_based_on_city for the code of a city.",
          helper="get_zipcode_based_on_city"),
)  # fmt: skip


def hint_for(call: ToolCall, result: CallResult, on_offer: Collection[str]) -> str:
    """The hint for a call's result, "" when it did not fail or no hint applies. `on_offer`: names of the tools."""
    if not result.error:
        return ""
    return next((hint.text for hint in HINTS if hint.applies(call, result, on_offer)), "")
