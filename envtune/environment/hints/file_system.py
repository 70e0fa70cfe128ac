"""Hints of GorillaFileSystem. Nearly every failure is a name that is not in the current directory; what helps depends on
where it is instead."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from envtune.environment.hints.arguments import closest
from envtune.environment.hints.hint import Domain, Hint, HintKind, NextCall, Of, Situation, Values, example, hint

_CLASS = "GorillaFileSystem"
_CONSTRAINT, _DEPENDENCY = HintKind.CONSTRAINT, HintKind.DEPENDENCY
_ILLEGAL = '|/\\?%*:"><'  # the API's own list
_WALK = 2_000  # entries that are looked at, at most
_CANDIDATES = 200  # names that are compared with the one that is not there
# tool -> its parameters that name something in the current directory; readers need a file
_NAMES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "cd": ("folder",), "rmdir": ("dir_name",), "rm": ("file_name",), "mv": ("source",), "cp": ("source",),
        "cat": ("file_name",), "echo": ("file_name",), "grep": ("file_name",), "sort": ("file_name",),
        "tail": ("file_name",), "wc": ("file_name",), "diff": ("file_name1", "file_name2"),
    }
)  # fmt: skip
_READERS = "cat grep sort tail wc diff"
_LOOK_UP = f"{_READERS} rm mv cp rmdir cd"
_ABSENT = "No such "  # file, directory, or file or directory


def here(s: Situation) -> Any:
    return s.api(_CLASS).get("_current_dir")


def _is_directory(item: Any) -> bool:
    return hasattr(item, "contents")


def _named(s: Situation) -> tuple[str, str] | None:
    """(parameter, name) of what the tool did not get: the first that is not here, or for a reader not a file."""
    current = here(s)
    for parameter in _NAMES.get(s.call.name, ()):
        name = s.argument(parameter)
        if current is None or not isinstance(name, str):
            return None
        item = current.contents.get(name)
        if item is None or (s.call.name in _READERS.split() and _is_directory(item)):
            return parameter, name
        if s.call.name == "cd" and not _is_directory(item):
            return parameter, name
    return None


def _below(directory: Any) -> Iterator[tuple[str, Any]]:
    """Everything below a directory, nearest first; a directory that is inside itself is walked once."""
    left, seen, looked_at = [directory], set(), 0
    while left:
        current = left.pop(0)
        if id(current.contents) in seen:
            continue
        seen.add(id(current.contents))
        for name, item in current.contents.items():
            looked_at += 1
            if looked_at > _WALK:
                return
            yield name, item
            if _is_directory(item):
                left.append(item)


def _where(s: Situation) -> Values | None:
    """What was not found, and its `place`: "here" (a directory where a file is needed, or the other way round), "path",
    "below", "elsewhere" or "nowhere"."""
    if "fs.where" not in s.known:
        s.known["fs.where"] = _look(s)
    found: Values | None = s.known["fs.where"]
    return found


def _look(s: Situation) -> Values | None:
    found = _named(s)
    if found is None:
        return None
    parameter, name = found
    current = here(s)
    if name in current.contents:
        place = "here"
    elif "/" in name.strip("/"):
        place = "path"
    elif any(entry == name for entry, _ in _below(current)):
        place = "below"
    elif any(entry == name for entry, _ in _below(s.api(_CLASS)["root"])):
        place = "elsewhere"
    else:
        place = "nowhere"
    return {"parameter": parameter, "name": name, "place": place}


def _place(wanted: str) -> Callable[[Situation], Values | None]:
    return lambda s: found if (found := _where(s)) is not None and found["place"] == wanted else None


def _first_part(path: Any) -> str | None:
    if not isinstance(path, str):
        return None
    parts = [part for part in path.split("/") if part not in ("", ".")]
    return parts[0] if len(parts) > 1 else None


def _path_through(*parameters: str) -> Callable[[Situation], Values | None]:
    """A path whose first part is a directory that is here, or ".." where there is a directory above."""

    def match(s: Situation) -> Values | None:
        current = here(s)
        for parameter in parameters or _NAMES.get(s.call.name, ()):
            path = s.argument(parameter)
            first = _first_part(path)
            if current is None or first is None or not isinstance(path, str) or path.startswith("/"):
                continue
            if _is_directory(current.contents.get(first)) or (first == ".." and current.parent):
                return {"first": first, "last": path.rstrip("/").rsplit("/", 1)[-1]}
        return None

    return match


def _path(*parameters: str) -> Callable[[Situation], Values | None]:
    """Any path: `last` is its last part."""

    def match(s: Situation) -> Values | None:
        for parameter in parameters or _NAMES.get(s.call.name, ()):
            path = s.argument(parameter)
            if isinstance(path, str) and "/" in path:
                return {"last": path.rstrip("/").rsplit("/", 1)[-1]}
        return None

    return match


def _dotted(s: Situation) -> Values | None:
    """A path that leads to something in the current directory: "./name", "/name", or with the directory's own name."""
    current = here(s)
    for parameter in _NAMES.get(s.call.name, ()):
        path = s.argument(parameter)
        if current is None or not isinstance(path, str) or "/" not in path:
            continue
        parts = [part for part in path.split("/") if part not in ("", ".")]
        if parts[:1] == [current.name]:
            parts = parts[1:]
        if len(parts) == 1 and parts[0] in current.contents:
            item = current.contents[parts[0]]
            if _is_directory(item) is (s.call.name in ("cd", "rmdir")) or s.call.name in ("rm", "mv", "cp"):
                return {"plain": parts[0], "changed": {parameter: parts[0]}}
    return None


def _near(s: Situation) -> Values | None:
    """A name in the current directory that is much like the one that is not there."""
    found = _named(s)
    if found is None or found[1] in here(s).contents:
        return None
    parameter, name = found
    folders, files = s.call.name in ("cd", "rmdir"), s.call.name in _READERS.split() or s.call.name == "echo"
    fit = [
        entry
        for entry, item in here(s).contents.items()
        if not (files and _is_directory(item)) and not (folders and not _is_directory(item))
    ]
    near = closest(name, fit[:_CANDIDATES], 0.75)
    return None if near is None else {"near": near, "changed": {parameter: near}}


def _goes_up(s: Situation) -> Values | None:
    """cd to the directory above by its name."""
    current, name = here(s), s.argument("folder")
    parent = getattr(current, "parent", None)
    return {"name": name} if parent is not None and isinstance(name, str) and parent.name == name.strip("/") else None


def _stays(s: Situation) -> Values | None:
    current, name = here(s), s.argument("folder")
    return {"name": name} if current is not None and isinstance(name, str) and current.name == name.strip("/") else None


def _legal(*parameters: str) -> Callable[[Situation], Values | None]:
    def match(s: Situation) -> Values | None:
        for parameter in parameters:
            name = s.argument(parameter)
            if isinstance(name, str) and any(c in _ILLEGAL for c in name):
                plain = "".join("_" if c in _ILLEGAL else c for c in name)
                return {"plain": plain, "changed": {parameter: plain}}
        return None

    return match


def _fresh(parameter: str) -> Callable[[Situation], Values | None]:
    """A name that is not in the current directory yet, made from the argument."""

    def match(s: Situation) -> Values | None:
        current, name = here(s), s.argument(parameter)
        if current is None or not isinstance(name, str):
            return None
        taken, number = current.contents, 2
        while (other := f"{name}_{number}") in taken:
            number += 1
        return {"name": name, "changed": {parameter: other}}

    return match


def _no_text(s: Situation) -> Values | None:
    """A file, of those that the tool reads, whose content is no text: echo writes whatever it is given."""
    current = here(s)
    if current is None:
        return None
    read = (
        [current.contents.get(s.argument(name)) for name in _NAMES.get(s.call.name, ())]
        if s.call.name != "du"
        else [item for _, item in _below(current)]
    )
    return {} if any(hasattr(item, "content") and not isinstance(item.content, str) for item in read) else None


def _on_directory(s: Situation) -> Values | None:
    current, name = here(s), s.argument("file_name")
    return {"name": name} if current is not None and _is_directory(current.contents.get(name)) else None


def _not_there(s: Situation) -> Values | None:
    """echo in the current release writes only to files that are there."""
    name = s.argument("file_name")
    return {"name": name} if isinstance(name, str) and "No such file" in s.text else None


_LS = NextCall("ls", "Call ls to see what it has.", {})
_GO = NextCall(
    "cd", "Go to its directory first, beginning with {call}, then give the plain name.", {"folder": Of("first")}
)
# ".." is in no documentation, and many ground truths have it
_ABOVE = NextCall("cd", "Go one directory up with {call}.", {"folder": ".."}, told=False)
_UP = NextCall(
    "cd", "It is not below this directory: go one up with {call}, and look there.", {"folder": ".."}, told=False
)
_DOWN = NextCall("find", "It is further down: {call} shows where.", {"name": Of("name")})


def _lookups() -> tuple[Hint, ...]:
    """A name that is not in the current directory, for all tools that take one: the specific before the general."""
    return (
        hint("fs.cd.parent", _DEPENDENCY, "cd", _ABSENT, "That is the directory above this one.", _goes_up,
             next=_ABOVE, retry={"folder": ".."}, authors=(2,),
             examples=example("cd(folder='docs')", "cd(folder='home')")),
        hint("fs.cd.same", _CONSTRAINT, "cd", _ABSENT, "That is the current directory already.", _stays, next=_LS,
             authors=(2,), examples=example("cd(folder='home')")),
        hint("fs.name.plain", _CONSTRAINT, _LOOK_UP, f"{_ABSENT}|Invalid character|Unsupported path",
             "Give its plain name, which is in the current directory: {plain}.", _dotted, retry=Of("changed"),
             authors=(3, 13, 17, 19, 23, 25, 32, 37, 39, 41),
             examples=(example("cat(file_name='./notes.txt')"), example("rm(file_name='/notes.txt')"),
                       example("tail(file_name='home/notes.txt')"))),
        hint("fs.cd.path", _CONSTRAINT, "cd", f"{_ABSENT}|Unsupported path", "Change one directory at a time.", _path_through(),
             next=NextCall("cd", "Begin with {call}.", {"folder": Of("first")}), retry={"folder": Of("first")},
             authors=(3,), examples=(example("cd(folder='docs/none')"), example("cd(folder='docs')", "cd(folder='../empty')"))),
        hint("fs.cd.path.unknown", _CONSTRAINT, "cd", f"{_ABSENT}|Unsupported path",
             "Give the name of one directory that is in the current one, or go up first.", _path(), next=_LS,
             authors=(3,), examples=(example("cd(folder='none/docs')"), example("cd(folder='/a/b')"))),
        hint("fs.name.path", _DEPENDENCY, _LOOK_UP, f"{_ABSENT}|Invalid character",
             "Paths are not accepted here, only names in the current directory.", _path_through(), next=_GO,
             authors=(13, 17, 19, 23, 25, 32, 37, 39, 41),
             examples=(example("cat(file_name='docs/a.txt')"), example("cp(source='docs/a.txt', destination='b')"),
                       example("diff(file_name1='notes.txt', file_name2='docs/a.txt')"))),
        hint("fs.name.path.unknown", _CONSTRAINT, _LOOK_UP, f"{_ABSENT}|Invalid character",
             "Paths are not accepted here, only names in the current directory.", _path(), next=_LS,
             authors=(13, 17, 19, 23, 25, 32, 37, 39, 41), examples=example("wc(file_name='/x/y.txt')")),
        hint("fs.directory", _CONSTRAINT, _READERS, "No such file|Is a directory",
             "{name} is a directory, and this tool needs a file.", _place("here"),
             next=NextCall("cd", "Go into it with {call} to get at its files.", {"folder": Of("name")}),
             authors=(14, 16, 20, 22, 29, 30, 31),
             examples=(example("cat(file_name='docs')"), example("sort(file_name='docs')"),
                       example("diff(file_name1='notes.txt', file_name2='docs')"))),
        hint("fs.cd.file", _CONSTRAINT, "cd", _ABSENT, "{name} is a file, not a directory.", _place("here"),
             next=NextCall("cat", "Read it with {call}.", {"file_name": Of("name")}), authors=(2,),
             examples=example("cd(folder='notes.txt')")),
        hint("fs.name.near", _DEPENDENCY, _LOOK_UP, _ABSENT,
             "The current directory has no such name; the closest that it has is {near}.", _near, needs="ls",
             retry=Of("changed"), authors=(2, 15, 18, 21, 24, 27, 28, 33, 38, 40, 42),
             examples=(example("cat(file_name='Notes.txt')"), example("cd(folder='doc')"))),
        hint("fs.name.below", _DEPENDENCY, _LOOK_UP, _ABSENT, "{name} is not in the current directory.",
             _place("below"),
             next=(_DOWN, NextCall("ls", "It is in a directory further down: call ls to see which there are.", {})),
             authors=(2, 15, 18, 21, 24, 26, 27, 28, 33, 38, 40, 42),
             examples=(example("cat(file_name='a.txt')"), example("rmdir(dir_name='old')"),
                       example("cd(folder='old')", held_out="find"))),
        hint("fs.name.elsewhere", _DEPENDENCY, _LOOK_UP, _ABSENT, "{name} is not in the current directory.",
             _place("elsewhere"), next=_UP, authors=(2, 15, 18, 21, 24, 26, 27, 28, 33, 38, 40, 42),
             examples=(example("cd(folder='docs')", "cat(file_name='notes.txt')"),
                       example("cd(folder='docs')", "mv(source='empty', destination='b')"))),
        hint("fs.name.nowhere", _DEPENDENCY, _LOOK_UP, _ABSENT, "{name} is not in the current directory.",
             _place("nowhere"), next=(_LS, NextCall("find", "Call find to see all that there is from here.", {})),
             authors=(2, 15, 18, 21, 24, 26, 27, 28, 33, 38, 40, 42),
             examples=(example("cd(folder='zzz')"), example("tail(file_name='zzz')"),
                       example("cp(source='zzz', destination='b')", held_out="ls"))),
    )  # fmt: skip


FILE_SYSTEM = Domain(
    "fs",
    _CLASS,
    (
        hint("fs.cd.root", _CONSTRAINT, "cd", r"already the root", "This is the top directory: '..' leads nowhere.",
             next=_LS, authors=(1,), examples=example("cd(folder='..')")),
        *_lookups(),
        hint("fs.make.path", _DEPENDENCY, "mkdir touch echo", "Invalid character",
             "Give a plain name: it is for the current directory.", _path_through("dir_name", "file_name"),
             next=NextCall("cd", "Go to another one first, beginning with {call}.", {"folder": Of("first")}),
             authors=(4, 7, 10), examples=(example("mkdir(dir_name='docs/new')"), example("touch(file_name='docs/b')"))),
        hint("fs.make.path.unknown", _CONSTRAINT, "mkdir touch echo", "Invalid character",
             "Give a plain name without '/': it is for the current directory.", _path("dir_name", "file_name"),
             authors=(4, 7, 10),
             examples=(example("mkdir(dir_name='a/b')"), example("echo(content='x', file_name='/a')"))),
        hint("fs.make.characters", _CONSTRAINT, "mkdir touch echo cat", "Invalid character",
             "A name must have none of | / \\ ? % * : \" > <", _legal("dir_name", "file_name"), retry=Of("changed"),
             authors=(5, 8, 11), examples=(example("mkdir(dir_name='a?b')"), example("cat(file_name='a*')"))),
        hint("fs.make.taken", _CONSTRAINT, "mkdir", "File exists",
             "The current directory has that name already. Use it as it is, or choose another name.",
             _fresh("dir_name"), retry=Of("changed"), authors=(6,), examples=example("mkdir(dir_name='docs')")),
        hint("fs.make.taken.file", _CONSTRAINT, "touch", "File exists",
             "The current directory has that name already. Use it as it is, or choose another name.",
             _fresh("file_name"), retry=Of("changed"), authors=(9,), examples=example("touch(file_name='notes.txt')")),
        hint("fs.echo.directory", _CONSTRAINT, "echo", r"_write'", "{name} is a directory, and text goes into a file.",
             _on_directory, next=NextCall("cd", "Go into it with {call} to write there.", {"folder": Of("name")}),
             authors=(12,), examples=example("echo(content='x', file_name='docs')")),
        hint("fs.echo.missing", _DEPENDENCY, "echo", r"No such file", "Text can be written only to a file that is here.",
             _not_there, next=NextCall("touch", "Make it first with {call}.", {"file_name": Of("name")}),
             examples=example("echo(content='x', file_name='new.txt')", release="current")),
        hint("fs.wc.mode", _CONSTRAINT, "wc", r"invalid mode", "mode is 'l' for lines, 'w' for words or 'c' for characters.",
             retry={"mode": "l"}, examples=example("wc(file_name='notes.txt', mode='lines')")),
        hint("fs.destination.path", _CONSTRAINT, "mv cp", " path in destination|path not allowed in destination|no path allowed in destination",
             "The destination is one plain name: a directory that is in the current directory, or a new name.",
             _path_through("destination"), retry={"destination": Of("first")}, authors=(34, 43),
             examples=(example("mv(source='notes.txt', destination='docs/n.txt')"),
                       example("cp(source='notes.txt', destination='empty/x')"))),
        hint("fs.destination.path.unknown", _CONSTRAINT, "mv cp", " path in destination|path not allowed in destination|no path allowed in destination",
             "The destination is one plain name: a directory that is in the current directory, or a new name.",
             lambda s: (v := _path("destination")(s)) and {**v, "plain": v["last"] or "copy"},
             retry={"destination": Of("plain")}, authors=(34, 43),
             examples=example("cp(source='notes.txt', destination='/x/new.txt')")),
        hint("fs.destination.taken", _CONSTRAINT, "mv cp", "File exists|already exists in directory",
             "The directory {destination} has an entry of that name already, and nothing is overwritten.",
             _fresh("destination"), retry=Of("changed"), authors=(35,),
             examples=(example("mv(source='a', destination='docs')"), example("cp(source='a', destination='docs')"))),
        hint("fs.destination.file", _CONSTRAINT, "mv cp", "Not a directory",
             "{destination} is a file that is there already, and nothing is overwritten. Name a directory, or a name that "
             "is not in use.", _fresh("destination"), retry=Of("changed"), authors=(36,),
             examples=example("mv(source='a', destination='notes.txt')")),
        hint("fs.rmdir.full", _DEPENDENCY, "rmdir", r"not empty",
             "Only an empty directory can be removed: what is in it has to go first.",
             next=NextCall("cd", "Go into it with {call}.", {"folder": Of("dir_name")}),
             examples=example("rmdir(dir_name='docs')")),
        hint("fs.rmdir.file", _CONSTRAINT, "rmdir", "Not a directory", "{dir_name} is a file, not a directory.",
             next=NextCall("rm", "Remove a file with {call}.", {"file_name": Of("dir_name")}),
             examples=example("rmdir(dir_name='notes.txt')")),
        hint("fs.content", _CONSTRAINT, "cat grep sort tail wc diff du",
             r"^Error during execution: ('\w+' object has no attribute '(splitlines|encode|split)'|object of type '\w+' has no len)",
             "A file holds a value that is no text, so this tool cannot read it.", _no_text,
             next=NextCall("echo", "Write it anew as text with {call}."),
             examples=(example("echo(content=5, file_name='notes.txt')", "sort(file_name='notes.txt')"),
                       example("echo(content=5, file_name='notes.txt')", "du()"))),
        hint("fs.find.path", _CONSTRAINT, "find", r"No such file or directory",
             "path is a directory below the current one, or '.' for the current one.", retry={"path": "."},
             examples=example("find(path='/none', name='a')", release="current")),
    ),
    {
        "root": {
            "home": {
                "type": "directory",
                "contents": {
                    "notes.txt": {"type": "file", "content": "one\ntwo"},
                    "a": {"type": "file", "content": "x"},
                    "empty": {"type": "directory", "contents": {}},
                    "docs": {
                        "type": "directory",
                        "contents": {
                            "a.txt": {"type": "file", "content": "x"},
                            "a": {"type": "file", "content": "y"},
                            "old": {"type": "directory", "contents": {}},
                        },
                    },
                },
            }
        }
    },
)  # fmt: skip
