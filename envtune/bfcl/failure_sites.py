"""Where BFCL's tools report failure: every such place in the source of a release's eight API classes, found by walking
its syntax tree, and the place that a given result came from.

What is known of a failure is kept by site: texts repeat between tools, and a list by hand misses what upstream adds.
"""

from __future__ import annotations

import ast
import functools
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from envtune.bfcl.classes import CLASS_FILES, SOURCE
from envtune.bfcl.releases import RELEASES, get_release

RAISED = "Error during execution: "  # what BFCL's executor writes before the text of an exception
_NO_EXCEPTION = "exceptions must derive from BaseException"  # Python's own words when a dict is raised
_MARK = "\0"  # on both sides of what a call fills in, in texts of the source; stands in none of them
_MORE = _MARK + _MARK  # where a result may have more keys


class SiteKind(StrEnum):
    ERROR = "error"
    """A dict literal with the key "error": returned, raised, returned in a list, or assigned and returned later."""
    RAISE = "raise"
    """An exception that the source raises by name."""
    STATUS = "status"
    """A returned dict literal without the key "error" in which a value is the constant False."""
    OTHER = "other"
    """A failure of another shape: an error set as a key or written as text in a list, or a value that only says it."""


@dataclass(frozen=True)
class FailureSite:
    """One place that reports failure.

    method: the function that holds it; number: among the method's sites, from 1; text: what it says, {expression} for
    what a call fills in; tools: the public methods that lead to it, the method itself or those that call the helper;
    pattern: fullmatches the result as BFCL's executor writes it; literals: how many of its characters are fixed.
    """

    release: str
    class_name: str
    method: str
    number: int
    kind: SiteKind
    text: str
    tools: frozenset[str]
    pattern: re.Pattern[str]
    literals: int

    @property
    def id(self) -> str:
        return f"{self.class_name}.{self.method}.{self.number}"


# Failures that only a reader recognises: method -> (the source's expression for the result, why it is a failure). Where
# the expression is a condition, only who knows the arguments sees the failure in the result: `site_of` never names it.
_READ: Mapping[str, tuple[str, str]] = MappingProxyType({
    "VehicleControlAPI.get_zipcode_based_on_city": ("{'zipcode': '00000'}", "an unknown city: none has this zip code"),
    "TravelAPI.get_nearest_airport_by_city": (
        "{'nearest_airport': airport_map.get(location, 'Unknown')}", "an unknown city"),
    "TradingBot.get_symbol_by_name": ("{'symbol': symbol_map.get(name, 'Stock not found')}", "an unknown company"),
    "TradingBot.get_available_stocks": ("{'stock_list': sector_map.get(sector, [])}", "an unknown sector"),
    "TradingBot.trading_login": ("{'status': 'Already logged in'}", "nothing was done, whoever asked"),
    "TradingBot.trading_logout": ("{'status': 'No user is currently logged in'}", "nothing was done"),
    "TwitterAPI.retweet": ("{'retweet_status': 'Already retweeted'}", "nothing was done"),
    "TradingBot.add_to_watchlist": ("stock in self.stocks", "an unknown stock is left out of the list returned"),
})  # fmt: skip


def _table(*rows: tuple[str, str, str, str]) -> Mapping[str, Mapping[str, str]]:
    """Release -> id -> why, from rows (releases, class, methods with numbers, why)."""
    found: dict[str, dict[str, str]] = {release: {} for release in RELEASES}
    for releases, class_name, sites, why in rows:
        for release in releases.split():
            found[release].update((f"{class_name}.{site}", why) for site in sites.split())
    return MappingProxyType({release: MappingProxyType(table) for release, table in found.items()})


# Sites that are no call's result, whatever sensible state a scenario sets up.
UNREACHABLE = _table(
    ("paper current", "GorillaFileSystem", "mv.2 rm.1 cp.2", "what a directory holds is always a File or a Directory"),
    ("paper current", "GorillaFileSystem", "cp.4", "looks for a name with a slash; a taken one raises later"),
    ("paper", "GorillaFileSystem", "cd.2", "only the root has no parent, and the branch before it is the root's"),
    ("current", "GorillaFileSystem", "cd.3", "only the root has no parent, and the branch before it is the root's"),
    ("paper", "GorillaFileSystem", "_navigate_to_directory.1", "cd writes an error of its own, and du goes nowhere"),
    ("paper current", "VehicleControlAPI", "startEngine.4 fillFuelTank.3", "no fuel level starts below 0, or falls"),
    ("paper current", "MathAPI", "multiply.2", "the check before it lets only ints and floats through: no TypeError"),
    ("paper current", "TradingBot", "get_order_details.2", "the extension's texts name only {symbol}, which is given"),
    ("current", "TravelAPI", "book_flight.9", "get_flight_cost has returned, so it has noted the cost under this key"),
)  # fmt: skip
# Sites that are no call's result in any of the release's 800 tasks, though they would be from a scenario of one's own.
BEYOND_TASKS = _table(
    ("paper current", "TravelAPI", "register_credit_card.1", "every task starts with a token, and nothing removes it"),
    ("paper current", "TravelAPI", "book_flight.4", "every card of every task has a balance, as every registered one"),
    ("current", "TravelAPI", "register_credit_card.2 get_credit_card_balance.1 book_flight.1 retrieve_invoice.1 "
     "get_booking_history.1 cancel_booking.1 set_budget_limit.1 purchase_insurance.1",
     "a token's life starts at 2 or more, and in this release nothing counts it down"),
)  # fmt: skip


@functools.cache
def failure_sites(release: str) -> tuple[FailureSite, ...]:
    """All sites of the release, in source order. Raises LookupError when the source lacks what `_READ` names."""
    folder = get_release(release).folder() / SOURCE
    trees = {name: ast.parse((folder / f"{stem}.py").read_text("utf-8")) for name, stem in CLASS_FILES.items()}
    sites = tuple(site for name, tree in trees.items() for site in _sites_of_class(release, name, tree))
    if missing := _READ.keys() - {f"{s.class_name}.{s.method}" for s in sites if s.kind is SiteKind.OTHER}:
        raise LookupError(f"the source of {release!r} has no longer the failures named for {sorted(missing)}")
    return sites


def site_of(release: str, tool: str, text: str) -> FailureSite | None:
    """The site that made `text` the result of `tool`: of those that fit, the one with the most fixed characters. None
    when there is none: a success, an error of Python's or of this kit's own."""
    return next((site for site in _by_tool(release).get(tool, ()) if site.pattern.fullmatch(text)), None)


@functools.cache
def _by_tool(release: str) -> Mapping[str, tuple[FailureSite, ...]]:
    """Tool -> its sites, in the order in which they are tried; equal ones: first what can be reached."""
    sites = sorted(failure_sites(release), key=lambda s: (-s.literals, s.id in UNREACHABLE[release], s.number))
    tools = {tool for site in sites for tool in site.tools}
    return MappingProxyType({tool: tuple(site for site in sites if tool in site.tools) for tool in tools})


def _sites_of_class(release: str, class_name: str, tree: ast.Module) -> Iterator[FailureSite]:
    """`tree`: the class's file, with the classes that it is made of (File and Directory)."""
    functions = [f for c in tree.body if isinstance(c, ast.ClassDef) for f in c.body if isinstance(f, ast.FunctionDef)]
    for function in functions:
        tools = _callers(function.name, functions)
        for number, (_, kind, said, result) in enumerate(sorted(_found(class_name, function), key=lambda f: f[0]), 1):
            text, (pattern, literals) = said.replace(_MARK, ""), _pattern(result)
            yield FailureSite(release, class_name, function.name, number, kind, text, tools, pattern, literals)


def _callers(name: str, functions: list[ast.FunctionDef]) -> frozenset[str]:
    """The tools through which `name` is called. Calls are told apart by name alone, which is enough here."""
    if not name.startswith("_"):
        return frozenset({name})
    callers = {f.name for f in functions if any(getattr(n, "attr", "") == name for n in ast.walk(f)) and f.name != name}
    return frozenset().union(*(_callers(caller, functions) for caller in callers))


def _found(class_name: str, function: ast.FunctionDef) -> Iterator[tuple[tuple[int, int], SiteKind, str, str | None]]:
    """The function's sites: (place, kind, what it says, the result's text or None when that does not show it). In texts
    each part that a call fills in stands between two `_MARK`."""
    silent, _ = _READ.get(f"{class_name}.{function.name}", (None, ""))
    for node in ast.walk(function):
        found: tuple[SiteKind, str, str | None] | None = None
        match node:
            case ast.Return(value=ast.Dict() as value) if said := _error(value):
                found = SiteKind.ERROR, said, _json(value)
            case ast.Return(value=ast.Dict(values=v) as value) if any(getattr(x, "value", 0) is False for x in v):
                found = SiteKind.STATUS, _json(value).replace(": false", ": False"), _json(value)
            case ast.Return(value=ast.List(elts=[ast.Dict() as value]) as items) if said := _error(value):
                found = SiteKind.ERROR, said, str(ast.literal_eval(items))
            case ast.Return(value=ast.List(elts=[ast.Constant(value=str() as said)])) if said.startswith("Error"):
                found = SiteKind.OTHER, said, str([said])
            case ast.Assign(value=ast.Dict() as value) if said := _error(value):
                found = SiteKind.ERROR, said, f"{_json(value)[:-1]}{_MORE}}}"
            case ast.Assign(targets=[ast.Subscript(slice=ast.Constant(value="error") as key)], value=value):
                found = SiteKind.OTHER, _text(value), f"{{{_MORE}{_json(ast.Dict([key], [value]))[1:-1]}{_MORE}}}"
            case ast.Raise(exc=ast.Dict() as value) if said := _error(value):
                found = SiteKind.ERROR, said, RAISED + _NO_EXCEPTION
            case ast.Raise(exc=ast.Call(args=[message])):
                found = SiteKind.RAISE, _text(message), RAISED + _text(message)
            case ast.Dict() if ast.unparse(node) == silent:
                values = [value.args[1] if isinstance(value, ast.Call) else value for value in node.values]
                said = json.dumps(ast.literal_eval(ast.Dict(node.keys, values)))  # of a look-up, what it falls back on
                found = SiteKind.OTHER, said, said
            case ast.Compare() if ast.unparse(node) == silent:
                found = SiteKind.OTHER, _text(node), None
        if found is not None:
            yield (node.lineno, node.col_offset), *found


def _error(node: ast.Dict) -> str:
    """What the dict says under the key "error"; nothing when it has no such key."""
    return "".join(_text(v) for k, v in zip(node.keys, node.values, strict=True) if getattr(k, "value", 0) == "error")


def _text(node: ast.expr) -> str:
    """What an expression gives as text."""
    match node:
        case ast.Constant(value=value):
            return str(value)
        case ast.JoinedStr(values=values):
            return "".join(map(_text, values))
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _text(left) + _text(right)
        case ast.FormattedValue(value=value):
            node = value
    return f"{_MARK}{{{ast.unparse(node)}}}{_MARK}"


def _json(node: ast.Dict) -> str:
    """A dict literal, whose values are constants or text, as json.dumps writes it."""
    items = []
    for key, value in zip(node.keys, node.values, strict=True):
        text = _MARK.join(p if i % 2 else json.dumps(p)[1:-1] for i, p in enumerate(_text(value).split(_MARK)))
        written = json.dumps(value.value) if isinstance(value, ast.Constant) else f'"{text}"'
        items.append(f'"{getattr(key, "value", None)}": {written}')
    return f"{{{', '.join(items)}}}"


def _pattern(text: str | None) -> tuple[re.Pattern[str], int]:
    """(what fullmatches the text, its fixed characters). Linear in time: a part's first fit is kept, as good as any."""
    if text is None:
        return re.compile("(?!)"), 0
    fixed = text.split(_MARK)[::2]
    first, *others = map(re.escape, fixed)
    rest = [f"(?>.*?{part})" for part in others[:-1]] + [f".*{part}" for part in others[-1:]]
    return re.compile("".join([first, *rest]), re.DOTALL), sum(map(len, fixed))
