"""Hints on calls as such, whatever the tool: names, parameters, types and limits. What the executor says, not a tool.

FIRST come before a domain's own hints, since they are about calls that never reached their tool; LAST after them.
"""

from __future__ import annotations

import re

from envtune.environment.hints.arguments import closest, documented, retyped, type_in_words
from envtune.environment.hints.file_system import FILE_SYSTEM
from envtune.environment.hints.hint import (
    REMOVED,
    Domain,
    HintKind,
    Of,
    Said,
    Situation,
    Values,
    example,
    hint,
)

_CONSTRAINT = HintKind.CONSTRAINT
_UNDEFINED = r"^Error during execution: name '.*' is not defined$"
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
    changed: dict[str, object] = dict.fromkeys(strangers, REMOVED)
    for stranger in strangers:
        near = closest(stranger, [name for name in takes if name not in s.call.arguments and name not in changed], 0.4)
        if near is not None:
            changed[near] = s.call.arguments[stranger]
    return {
        "strangers": strangers,
        "takes": Said(", ".join(takes[:_MAX_LISTED])),
        "changed": changed,
        "any": bool(takes),
    }


def _missing(s: Situation) -> Values | None:
    """The required parameters that were not given, by the tool's own words."""
    _, found, after = s.text.partition(" missing ")
    names = _QUOTED.findall(after) if found else []
    docs = documented(s)
    if not names or not all(name in docs for name in names):
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


FIRST = (
    hint("call.tool.prefix", _CONSTRAINT, None, _UNDEFINED, "A tool is called by its plain name: {plain}.", _prefixed,
         examples=example("GorillaFileSystem.ls()")),
    hint("call.tool.similar", _CONSTRAINT, None, _UNDEFINED,
         "No tool on offer has this name. The closest name on offer is {closest}.", _similar,
         examples=example("list_file()", "ls_()")),
    hint("call.tool.unknown", _CONSTRAINT, None, _UNDEFINED,
         "No tool on offer has this name. Use one of those that are documented; where none can do it, say so in your "
         "answer.", _unknown, examples=(example("send_fax(number='1')"), example("tail(file_name='a')", held_out="tail"))),
    hint("call.tool.forbidden", _CONSTRAINT, None, r"^Error during execution: Function call \w+ is not allowed\.$",
         "No tool has this name, and it may not be used. Use one of the tools that are documented.",
         examples=example("popen(command='x')")),
    hint("call.argument.name", _CONSTRAINT, None, _UNDEFINED,
         "An argument is a name without a meaning here. Arguments are plain values: text in quotes, numbers, true, false, "
         "lists, objects.", examples=example("cat(file_name=notes)")),
    hint("call.parameter.none", _CONSTRAINT, None, "got an unexpected keyword argument",
         "This tool takes no arguments.", lambda s: (v := _unexpected(s)) and (None if v["any"] else v),
         retry=Of("changed"), examples=example("pwd(folder='x')")),
    hint("call.parameter.unknown", _CONSTRAINT, None, "got an unexpected keyword argument",
         "This tool has no such parameters: {strangers}. It has: {takes}.", _unexpected, retry=Of("changed"),
         examples=(example("cat(file='notes.txt')"), example("ls(all=True)"))),
    hint("call.parameter.missing", _CONSTRAINT, None, r" missing \d+ required (positional|keyword-only) argument",
         "Required and not given: {names}.", _missing, examples=(example("cat()"), example("cp(source='notes.txt')"))),
    hint("call.parameter.position", _CONSTRAINT, None,
         r"positional arguments? but \d+ (were|was) given|got multiple values for argument",
         "Give each argument once, by its name. The parameters are: {takes}.", _by_position,
         examples=(example("pwd(1)"), example("cat('a', file_name='b')"))),
    hint("call.limit.episode", _CONSTRAINT, None, "limit of this environment: all calls and results",
         "No more can be run in this conversation. Answer with what is known so far.",
         examples=example(*["echo(content='" + "x" * 19_900 + "')"] * 52)),
    hint("call.limit.precision", _CONSTRAINT, None,
         r"limit of this environment: (precision|decimal_places|\w+) (is|has) at most|an integer has too many digits",
         "A number as large as this is not worked with here. Use one below the limit that the result names.",
         examples=example("echo(content=" + "9" * 402 + ")")),
    hint("call.limit.call", _CONSTRAINT, None, "limit of this environment: (a call|a result|the file system)",
         "This is more than one call can do here. Ask for less at once.",
         examples=example("echo(content='" + "x" * 20_001 + "')")),
    hint("call.syntax", _CONSTRAINT, None,
         r"^Error during execution: .*(invalid syntax|invalid decimal literal|keyword argument repeated|<string>, line)",
         "The call cannot be read. Its parameters are: {takes}. Give each a plain value.", _by_position,
         examples=example("ls(a=)")),
    hint("call.syntax.name", _CONSTRAINT, None,
         r"^Error during execution: .*(invalid syntax|invalid decimal literal|keyword argument repeated|<string>, line)",
         "The call cannot be read. Give the plain name of a tool that is documented.", examples=example("ls the folder")),
    hint("call.value.plain", _CONSTRAINT, None,
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
