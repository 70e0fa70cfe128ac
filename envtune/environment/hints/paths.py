"""Conditions of the file system's hints: what a name or a path in a call names, and where that is instead.

Everything is read from the tree that the API object holds, which `ls` and `find` show.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from envtune.environment.hints.arguments import closest
from envtune.environment.hints.hint import Said, Situation, Values

CLASS = "GorillaFileSystem"
Match = Callable[[Situation], Values | None]
READERS = frozenset({"cat", "grep", "sort", "tail", "wc", "diff"})  # they need a file
_ILLEGAL = '|/\\?%*:"><'  # the API's own list
_WALK = 2_000  # entries that are looked at, at most
# tool -> its parameters that name something in the current directory
_NAMES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "cd": ("folder",), "rmdir": ("dir_name",), "rm": ("file_name",), "mv": ("source",), "cp": ("source",),
        "cat": ("file_name",), "echo": ("file_name",), "grep": ("file_name",), "sort": ("file_name",),
        "tail": ("file_name",), "wc": ("file_name",), "diff": ("file_name1", "file_name2"),
    }
)  # fmt: skip


def here(s: Situation) -> Any:
    """The current directory, None where there is no file system."""
    return s.api(CLASS).get("_current_dir")


def is_directory(item: Any) -> bool:
    """Whether an entry is a directory."""
    return hasattr(item, "contents")


def entry(s: Situation, parameter: str) -> Any:
    """What the argument names in the current directory; None for nothing."""
    current, name = here(s), s.argument(parameter)
    return current.contents.get(name) if current is not None and isinstance(name, str) else None


def is_entry(parameter: str, directory: bool) -> Match:
    """The argument names a directory, or a file, in the current directory."""
    return lambda s: None if (item := entry(s, parameter)) is None or is_directory(item) is not directory else {}


def _walk(directory: Any) -> tuple[list[tuple[str, Any]], bool]:
    """Everything below a directory, nearest first, and whether it ends there: copies can be inside themselves."""
    found: list[tuple[str, Any]] = []
    left, seen, ends = [directory], set(), True
    for current in left:  # which grows
        if id(current.contents) in seen:
            ends = False
            continue
        seen.add(id(current.contents))
        for item in current.contents.items():
            if len(found) >= _WALK:
                return found, False
            found.append(item)
            if is_directory(item[1]):
                left.append(item[1])
    return found, ends


def _missing(s: Situation) -> tuple[str, str] | None:
    """(parameter, name) of what the tool did not get: the first that is not here, or is a directory where a file is
    needed, or the other way round."""
    for parameter in _NAMES.get(s.call.name, ()):
        name, item = s.argument(parameter), entry(s, parameter)
        if here(s) is None or not isinstance(name, str):
            return None
        wrong = is_directory(item) if s.call.name in READERS else s.call.name == "cd" and not is_directory(item)
        if item is None or wrong:
            return parameter, name
    return None


def _where(s: Situation) -> Values | None:
    """What the tool did not get, and its `place`: "here" (a directory where a file is needed, or the other way round),
    "path", "below", "elsewhere" or "nowhere"."""
    if "where" not in s.known:
        s.known["where"] = _look(s)
    found: Values | None = s.known["where"]
    return found


def _look(s: Situation) -> Values | None:
    missing = _missing(s)
    if missing is None:
        return None
    parameter, name = missing
    values = {"parameter": parameter, "name": name}
    if name in here(s).contents:
        return {**values, "place": "here"}
    if "/" in name.strip("/"):
        return {**values, "place": "path"}
    below, ends = _walk(here(s))
    if any(other == name for other, _ in below):
        return {**values, "place": "below" if ends else "nowhere"}  # a tree without an end cannot be searched
    everywhere, _ = _walk(s.api(CLASS)["root"])
    return {**values, "place": "elsewhere" if any(other == name for other, _ in everywhere) else "nowhere"}


def place(wanted: str) -> Match:
    """What the tool did not get is at that place (see `_where`)."""
    return lambda s: found if (found := _where(s)) is not None and found["place"] == wanted else None


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]


def _paths(s: Situation, parameters: tuple[str, ...]) -> list[tuple[str, str]]:
    """(parameter, path) for the arguments with a slash."""
    names = parameters or _NAMES.get(s.call.name, ())
    return [(name, path) for name in names if isinstance(path := s.argument(name), str) and "/" in path]


def any_path(*parameters: str) -> Match:
    """Any path: `last` is its last part."""
    return lambda s: {"last": found[0][1].rstrip("/").rsplit("/", 1)[-1]} if (found := _paths(s, parameters)) else None


def path_through(*parameters: str) -> Match:
    """A path whose first part is a directory that is here, or ".." where there is a directory above."""

    def match(s: Situation) -> Values | None:
        current = here(s)
        for parameter, path in _paths(s, parameters):
            parts = _parts(path)
            if current is None or len(parts) < 2 or path.startswith("/"):
                continue
            first, last = parts[0], parts[-1]
            if is_directory(current.contents.get(first)) or (first == ".." and current.parent):
                return {"first": first, "last": last, "changed": {parameter: first} if first != ".." else None}
        return None

    return match


def plain_name(s: Situation) -> Values | None:
    """A path to something in the current directory: "./name", "/name" at the top, or with the directory's own name."""
    current = here(s)
    for parameter, path in _paths(s, ()):
        if current is None or (path.startswith("/") and current.parent is not None):
            continue
        parts = _parts(path)
        if parts[:1] == [current.name] and current.name not in current.contents:
            parts = parts[1:]
        item = current.contents.get(parts[0]) if len(parts) == 1 else None
        fits = is_directory(item) is (s.call.name in ("cd", "rmdir")) or s.call.name in ("rm", "mv", "cp")
        if item is not None and fits:
            return {"plain": parts[0], "changed": {parameter: parts[0]}}
    return None


def near_name(s: Situation) -> Values | None:
    """A name in the current directory that is much like the one that is not there, which is not further down or
    elsewhere either. No call is proposed where it would remove or move something else."""
    found = _where(s)
    if found is None or found["place"] != "nowhere":
        return None
    folders, files = s.call.name in ("cd", "rmdir"), s.call.name in READERS
    if s.call.name == "diff" and sum(entry(s, name) is None for name in _NAMES["diff"]) > 1:
        return None  # changing one of two would not do
    fit = (
        name
        for name, item in here(s).contents.items()
        if not (files and is_directory(item)) and not (folders and not is_directory(item))
    )
    near = closest(found["name"], fit, 0.75)
    harmless = files or s.call.name == "cd"
    return None if near is None else {"near": near, "changed": {found["parameter"]: near} if harmless else None}


def directory_above(s: Situation) -> Values | None:
    """cd to the directory above: by its name, or as "..", with a slash too many."""
    current, name = here(s), s.argument("folder")
    parent = getattr(current, "parent", None)
    return {} if parent is not None and isinstance(name, str) and name.strip("/") in (parent.name, "..") else None


def this_directory(s: Situation) -> Values | None:
    """cd to the current directory: by its name, or as "." with a slash."""
    current, name = here(s), s.argument("folder")
    return {} if current is not None and isinstance(name, str) and name.strip("/") in (current.name, ".") else None


def nothing_above(s: Situation) -> Values | None:
    """cd through ".." at the top."""
    current, name = here(s), s.argument("folder")
    up = isinstance(name, str) and _parts(name)[:1] == [".."]
    return {} if up and current is not None and current.parent is None else None


def illegal_name(*parameters: str) -> Match:
    """A name with characters that the API does not take; for what is only read no other name is proposed."""

    def match(s: Situation) -> Values | None:
        for parameter in parameters:
            name = s.argument(parameter)
            if isinstance(name, str) and any(c in _ILLEGAL for c in name):
                plain = "".join("_" if c in _ILLEGAL else c for c in name)
                return {"changed": None if s.call.name in READERS else {parameter: plain}}
        return None

    return match


def readable(s: Situation) -> Values | None:
    """A file where a directory is needed, that cat can show."""
    found = _where(s)
    fits = found is not None and found["place"] == "here" and not any(c in _ILLEGAL for c in found["name"])
    return found if fits else None


def taken(parameter: str) -> Match:
    """A name that is in the current directory: `what` it is, and `changed` to one that is not."""

    def match(s: Situation) -> Values | None:
        item, name = entry(s, parameter), s.argument(parameter)
        if item is None:
            return None
        number = 2
        while f"{name}_{number}" in here(s).contents:
            number += 1
        return {
            "name": name,
            "what": Said("directory" if is_directory(item) else "file"),
            "changed": {parameter: f"{name}_{number}"},
        }

    return match


def taken_by(parameter: str, directory: bool) -> Match:
    """`taken`, by a directory or by a file."""
    match = taken(parameter)
    return lambda s: match(s) if is_entry(parameter, directory)(s) is not None else None


def no_text(s: Situation) -> Values | None:
    """A file, of those that the tool reads, whose content is no text, or none that can be written: echo takes anything."""
    if s.call.name == "du":
        return {}
    read = [entry(s, name) for name in _NAMES.get(s.call.name, ())]
    return {} if any(hasattr(item, "content") and not isinstance(item.content, str) for item in read) else None


def not_there(s: Situation) -> Values | None:
    """echo in the current release writes only to files that are there."""
    name = s.argument("file_name")
    legal = isinstance(name, str) and not any(c in _ILLEGAL for c in name)
    return {"name": name} if legal and entry(s, "file_name") is None else None
