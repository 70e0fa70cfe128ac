"""Hints on calls as such, whatever the tool: names, parameters, types and limits. What the executor says, not a tool.

FIRST come before a domain's own hints, since they are about calls that never reached their tool; LAST after them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from envtune.environment.hints.arguments import closest, documented, retyped, type_in_words
from envtune.environment.hints.file_system import FILE_SYSTEM
from envtune.environment.hints.hint import (
    REMOVED,
    Domain,
    Hint,
    HintKind,
    Of,
    Said,
    Situation,
    Values,
    example,
    hint,
)

_CONSTRAINT = HintKind.CONSTRAINT
_UNDEFINED = "Error during execution: name '"
_SYNTAX = r"\(<string>, line \d+\)$"
_QUOTED = re.compile(r"'([^']*)'")
_MAX_LISTED = 12


def _prefixed(s: Situation) -> Values | None:
    """A name like GorillaFileSystem.ls, whose last part is a tool on offer."""
    last = re.split(r"[.:/]", s.call.name)[-1]
    if last == s.call.name or last not in s.offer.docs:
        return None
    return {"plain": Said(last), "call": {"name": last}}


def _unknown(s: Situation) -> Values | None:
    return None if s.call.name in s.offer.docs else {}


def _similar(s: Situation) -> Values | None:
    name = closest(s.call.name, s.offer.docs, 0.7) if _unknown(s) is not None else None
    return None if name is None else {"closest": Said(name)}


def _unexpected(s: Situation) -> Values | None:
    """The parameters that the tool does not have, the ones that it has, and what the arguments could have been meant for."""
    takes = s.offer.parameters.get(s.call.name)
    if takes is None:
        return None
    strangers = [name for name in s.call.arguments if name not in takes]
    if not strangers:
        return None

    def changed() -> dict[str, object]:
        found: dict[str, object] = dict.fromkeys(strangers, REMOVED)
        for stranger in strangers:
            free = [name for name in takes if name not in s.call.arguments and name not in found]
            if near := closest(stranger, free, 0.4):
                found[near] = s.call.arguments[stranger]
        return found

    return {"strangers": strangers, "takes": Said(", ".join(takes[:_MAX_LISTED])), "changed": changed}


def _misnamed(s: Situation) -> Values | None:
    """A parameter that is no name at all, such as file-name: what is said to be undefined is one of the arguments' names."""
    name = s.text.removeprefix(_UNDEFINED).partition("'")[0]
    return _unexpected(s) if name in s.call.arguments else None


def _takes_none(s: Situation) -> Values | None:
    return _unexpected(s) if s.offer.parameters.get(s.call.name) == () else None


def _missing(s: Situation) -> Values | None:
    """The required parameters that were not given, by the tool's own words."""
    _, found, after = s.text.partition(" missing ")
    names = _QUOTED.findall(after) if found else []
    docs = documented(s)
    if not names or not all(name in docs and name not in s.call.arguments for name in names):
        return None
    described = [f"{name} ({type_in_words(docs[name])})" for name in names[:_MAX_LISTED]]
    return {"names": Said(", ".join(described))}


def _by_position(s: Situation) -> Values | None:
    takes = s.offer.parameters.get(s.call.name)
    return None if takes is None else {"takes": Said(", ".join(takes[:_MAX_LISTED]) or "none")}


def _parameters(s: Situation) -> Values | None:
    docs = documented(s)
    if s.call.name not in s.offer.docs:
        return None
    listed = [f"{name} ({type_in_words(doc)})" for name, doc in list(docs.items())[:_MAX_LISTED]]
    return {"listed": Said(", ".join(listed) or "none")}


def _raised(id: str, result: str, text: str, *match: Callable[[Situation], Values | None], **options: Any) -> Hint:
    """A hint on an exception, of whatever tool."""
    return hint(id, _CONSTRAINT, None, result, text, *match, raised=True, **options)


FIRST = (
    _raised("call.parameter.none", "got an unexpected keyword argument",
         "This tool takes no arguments.", _takes_none,
         retry=Of("changed"), examples=example("pwd(folder='x')")),
    _raised("call.parameter.unknown", "got an unexpected keyword argument",
         "Unknown parameters: {strangers}. This tool takes: {takes}.", _unexpected, retry=Of("changed"),
         examples=(example("cat(file='notes.txt')"), example("ls(all=True)"))),
    _raised("call.parameter.name", _UNDEFINED, "Unknown parameters: {strangers}. This tool takes: {takes}.", _misnamed,
            retry=Of("changed"), examples=()),
    _raised("call.parameter.missing", " required positional argument",
         "Required and not given: {names}.", _missing, examples=(example("cat()"), example("cp(source='notes.txt')"))),
    _raised("call.parameter.position",
         r"positional arguments? but \d+ (were|was) given|got multiple values for argument",
         "Give each argument once, by its name. The parameters are: {takes}.", _by_position,
         examples=(example("pwd(1)"), example("cat('a', file_name='b')"))),
    _raised("call.tool.prefix", _UNDEFINED, "A tool is called by its plain name: {plain}.", _prefixed,
         examples=example("GorillaFileSystem.ls()")),
    _raised("call.tool.similar", _UNDEFINED,
         "No tool on offer has this name. The closest name on offer is {closest}.", _similar,
         examples=example("list_file()", "ls_()")),
    _raised("call.tool.unknown", _UNDEFINED,
         "No tool on offer has this name. Use one of those that are documented; where none can do it, say so in your "
         "answer.", _unknown, examples=(example("send_fax(number='1')"), example("tail(file_name='a')", held_out="tail"))),
    _raised("call.tool.forbidden", r"^Error during execution: Function call \w+ is not allowed\.$",
         "No tool has this name, and it may not be used. Use one of the tools that are documented.",
         examples=example("popen(command='x')")),
    _raised("call.argument.name", _UNDEFINED,
         "An argument is a name without a meaning here. Arguments are plain values: text in quotes, numbers, true, false, "
         "lists, objects.", examples=example("cat(file_name=notes)")),
    _raised("call.limit.episode", "Error during execution: limit of this environment: all calls and results",
         "No more can be run in this conversation. Answer with what is known so far.",
         examples=example(*["echo(content='" + "x" * 19_900 + "')"] * 52)),
    _raised("call.limit.precision",
         r"^Error during execution: limit of this environment: (precision|decimal_places|value|base|number|an integer) (is|has) ",
         "A number as large as this is not worked with here. Use one below the limit that the result names.",
         examples=example("echo(content=" + "9" * 402 + ")")),
    _raised("call.limit.text", r"^Error during execution: limit of this environment: \w+ has at most",
            "An argument is longer than this tool takes here. Write it shorter.", examples=()),
    _raised("call.limit.call", "^Error during execution: limit of this environment: (a call|a result|the file system)",
         "This is more than one call can do here. Ask for less at once.",
         examples=example("echo(content='" + "x" * 20_001 + "')")),
    _raised("call.syntax",
         _SYNTAX,
         "The call cannot be read. Its parameters are: {takes}. Give each a plain value.", _by_position,
         examples=example("ls(a=)")),
    _raised("call.syntax.name",
         _SYNTAX,
         "The call cannot be read. Give the plain name of a tool that is documented.", examples=example("ls the folder")),
    _raised("call.value.plain",
         r"^Error during execution: (arguments must be literal values|only tools can be called|arithmetic in an argument)",
         "Arguments are plain values: text in quotes, numbers, true, false, lists, objects.",
         examples=example("cat(file_name=[x for x in 'ab'])")),
)  # fmt: skip

LAST = (
    hint("call.type", _CONSTRAINT, None, "", "{wrong}.", retyped, retry=Of("changed"),
         examples=(example("cat(file_name=['notes.txt'])"), example("tail(file_name='notes.txt', lines='2')"))),
    hint("call.value", _CONSTRAINT, None, "",
         "This tool cannot work with one of these values. Its parameters are: {listed}.", _parameters, examples=()),
    hint("call.any", _CONSTRAINT, None, "",
         "Compare the call with the documentation of the tools: the name, and each argument.",
         examples=example("1/0")),
)  # fmt: skip

CALLS = Domain("call", FILE_SYSTEM.class_name, FIRST + LAST, FILE_SYSTEM.scenario)
