"""The hints of the authors' release, in our words, for comparison: 48 messages on 17 tools of three domains.

Numbered by tool in the order of its failures: 1 to 43 the file system, 44 to 46 travel, 47 and 48 the vehicle. Where their
message was untrue (3, 46, 48) or could name a tool that is still held out (44, 47, 48), ours is true and leaves the name
out: what is compared is where a hint is given and what about, not a mistake. Theirs change some results in wording alone
(1, 6, 9, 34, 35, 43); here these are hints that say the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from envtune.environment.hints.file_system import FILE_SYSTEM
from envtune.environment.hints.hint import Domain, Example, Hint, HintKind, NextCall, Situation, Values, always, example
from envtune.environment.hints.paths import entry
from envtune.environment.hints.travel import AIRPORTS, CURRENCIES

Match = Callable[[Situation], Values | None]
_CONSTRAINT, _DEPENDENCY = HintKind.CONSTRAINT, HintKind.DEPENDENCY
_ABSENT = "No such |Unsupported path"
_TAKEN = "File exists"
_INVALID = "Invalid character"
_TO_PATH = r"path (not allowed )?in destination|no path allowed"
_ILLEGAL = 'A name must have none of | / \\ ? % * : " > <'
_NO_PATH = "Paths are not accepted here: give a name in the current directory."
_PLAIN = "Paths are not accepted here: give a plain name for the current directory."


def _slash(*parameters: str) -> Match:
    return lambda s: {} if any("/" in v for p in parameters if isinstance(v := s.argument(p), str)) else None


def _item(s: Situation, parameter: str) -> str:
    """What the argument names in the current directory: "directory", "file" or "nothing"."""
    item = entry(s, parameter)
    return "nothing" if item is None else "directory" if hasattr(item, "contents") else "file"


def _is(parameter: str, *what: str) -> Match:
    return lambda s: {"name": s.argument(parameter)} if _item(s, parameter) in what else None


def _pair(first: str, second: str) -> Match:
    """What the two names of diff are, "*" for anything."""

    def match(s: Situation) -> Values | None:
        found = _item(s, "file_name1"), _item(s, "file_name2")
        return {} if all(want in ("*", item) for want, item in zip((first, second), found, strict=True)) else None

    return match


def _code(s: Situation) -> Values | None:
    wrong = [name for name in ("travel_from", "travel_to") if s.argument(name) not in AIRPORTS]
    return {"value": s.argument(wrong[0])} if wrong else None


def _row(
    number: int,
    tool: str,
    result: str,
    text: str,
    match: Match = always,
    *,
    examples: Example | tuple[Example, ...],
    kind: HintKind = _CONSTRAINT,
    next: tuple[NextCall, ...] = (),
    retry: Mapping[str, Any] | None = None,
) -> Hint:
    listed = (examples,) if isinstance(examples, Example) else examples
    return Hint(
        f"authors.{number:02d}", kind, frozenset({tool}), re.compile(result), text, match, next, retry,
        authors=(number,), examples=listed,
    )  # fmt: skip


_FILE_SYSTEM = (
    _row(1, "cd", r"already the root", "This is the top directory.", examples=example("cd(folder='..')")),
    _row(3, "cd", _ABSENT, "Change one directory at a time.", _slash("folder"), examples=example("cd(folder='x/y')")),
    _row(2, "cd", _ABSENT, "The current directory has no directory of that name.", examples=example("cd(folder='x')")),
    _row(4, "mkdir", _INVALID, _PLAIN, _slash("dir_name"), examples=example("mkdir(dir_name='a/b')")),
    _row(5, "mkdir", _INVALID, _ILLEGAL, examples=example("mkdir(dir_name='a?')")),
    _row(6, "mkdir", _TAKEN, "There is a file or directory of that name.", examples=example("mkdir(dir_name='docs')")),
    _row(7, "touch", _INVALID, _PLAIN, _slash("file_name"), examples=example("touch(file_name='a/b')")),
    _row(8, "touch", _INVALID, _ILLEGAL, examples=example("touch(file_name='a?')")),
    _row(9, "touch", _TAKEN, "There is a file or directory of that name.", examples=example("touch(file_name='a')")),
    _row(10, "echo", _INVALID, _PLAIN, _slash("file_name"), examples=example("echo(content='c', file_name='a/b')")),
    _row(11, "echo", _INVALID, _ILLEGAL, examples=example("echo(content='c', file_name='a?')")),
    _row(12, "echo", r"_write'", "That is a directory, and cannot be written to.",
         examples=example("echo(content='c', file_name='docs')")),
    *(
        row
        for tool, paths, directory, missing, more in (
            ("wc", 13, 14, 15, ""), ("sort", 17, 16, 18, ""), ("grep", 19, 20, 21, ", pattern='p'"),
            ("tail", 23, 22, 24, ""),
        )
        for row in (
            _row(paths, tool, _ABSENT, _NO_PATH, _slash("file_name"), examples=example(f"{tool}(file_name='x/y'{more})")),
            _row(directory, tool, _ABSENT, "{name} is a directory, and this tool needs a file.",
                 _is("file_name", "directory"), examples=example(f"{tool}(file_name='docs'{more})")),
            _row(missing, tool, _ABSENT, "The current directory has no file of that name.",
                 examples=example(f"{tool}(file_name='x'{more})")),
        )
    ),
    *(
        _row(number, "diff", _ABSENT, text, match, examples=example(f"diff(file_name1={a!r}, file_name2={b!r})"))
        for number, text, match, a, b in (
            (25, _NO_PATH, _slash("file_name1", "file_name2"), "docs/a.txt", "a"),
            (26, "The current directory has neither of the two.", _pair("nothing", "nothing"), "x", "y"),
            (27, "The current directory has no {file_name1}.", _pair("nothing", "*"), "x", "a"),
            (28, "The current directory has no {file_name2}.", _pair("*", "nothing"), "a", "y"),
            (29, "Both are directories, and this tool needs files.", _pair("directory", "directory"), "docs", "empty"),
            (30, "{file_name1} is a directory, and this tool needs files.", _pair("directory", "*"), "docs", "a"),
            (31, "{file_name2} is a directory, and this tool needs files.", _pair("*", "directory"), "a", "docs"),
        )
    ),
    _row(32, "mv", _ABSENT, "Paths are not accepted as source: give a name in the current directory.", _slash("source"),
         examples=example("mv(source='x/y', destination='b')")),
    _row(33, "mv", _ABSENT, "The current directory has nothing of that name.",
         examples=example("mv(source='x', destination='b')")),
    _row(34, "mv", _TO_PATH, "The destination {destination} is a path; only a name is accepted.",
         examples=example("mv(source='a', destination='x/y')")),
    _row(35, "mv", _TAKEN, "The destination directory has a file of that name.",
         examples=example("mv(source='a', destination='docs')")),
    _row(36, "mv", "Not a directory", "The destination is a file that is there, and it is not overwritten.",
         examples=example("mv(source='a', destination='notes.txt')")),
    _row(37, "rm", _ABSENT, _NO_PATH, _slash("file_name"), examples=example("rm(file_name='x/y')")),
    _row(38, "rm", _ABSENT, "The current directory has nothing of that name.", examples=example("rm(file_name='x')")),
    _row(39, "rmdir", _ABSENT, _NO_PATH, _slash("dir_name"), examples=example("rmdir(dir_name='x/y')")),
    _row(40, "rmdir", _ABSENT, "The current directory has no directory of that name.",
         examples=example("rmdir(dir_name='x')")),
    _row(41, "cp", _ABSENT, "Paths are not accepted as source: give a name in the current directory.", _slash("source"),
         examples=example("cp(source='x/y', destination='b')")),
    _row(42, "cp", _ABSENT, "The current directory has nothing of that name.",
         examples=example("cp(source='x', destination='b')")),
    _row(43, "cp", _TO_PATH, "The destination {destination} is a path; only a name is accepted.",
         examples=example("cp(source='a', destination='x/y')")),
)  # fmt: skip

AUTHORS_FILE_SYSTEM = Domain("authors", FILE_SYSTEM.class_name, _FILE_SYSTEM, FILE_SYSTEM.scenario)
AUTHORS_TRAVEL = Domain(
    "authors",
    "TravelAPI",
    (
        _row(44, "get_flight_cost", "No available route", "{value} is not the code of an airport.", _code,
             kind=_DEPENDENCY,
             next=(NextCall("list_all_airports", "Use {call} or get_nearest_airport_by_city.", {}),
                   NextCall("list_all_airports", "Use {call}.", {}),
                   NextCall("get_nearest_airport_by_city", "Use {call}.")),
             examples=example("get_flight_cost(travel_from='XYZ', travel_to='LAX', travel_date='d', travel_class='economy')")),
        _row(45, "get_flight_cost", "No available route", "There is no flight from {travel_from} to {travel_to}.",
             examples=example("get_flight_cost(travel_from='LHR', travel_to='SFO', travel_date='d', travel_class='first')")),
        _row(46, "compute_exchange_rate", "No available exchange rate",
             "There is no rate between {base_currency} and {target_currency}. There are rates between USD and each of "
             + ", ".join(CURRENCIES[1:]) + ".",
             examples=example("compute_exchange_rate(base_currency='EUR', target_currency='JPY', value=1.0)")),
    ),
)  # fmt: skip
AUTHORS_VEHICLE = Domain(
    "authors",
    "VehicleControlAPI",
    (
        _row(47, "get_outside_temperature_from_weather_com", r"404", "This service is not available.", kind=_DEPENDENCY,
             next=(NextCall("get_outside_temperature_from_google", "Use {call}.", {}),),
             examples=example("get_outside_temperature_from_weather_com()")),
        _row(48, "estimate_distance", "distance not found", "No distance is known from {cityA} to {cityB}.",
             kind=_DEPENDENCY, next=(NextCall("get_zipcode_based_on_city", "Check the zip codes with {call}."),),
             examples=example("estimate_distance(cityA='1', cityB='2')")),
    ),
)  # fmt: skip
