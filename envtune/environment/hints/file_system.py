"""Hints of GorillaFileSystem. Nearly every failure is a name that is not in the current directory; what helps depends on
where it is instead (`paths.py`)."""

from __future__ import annotations

from envtune.environment.hints.arguments import one_of
from envtune.environment.hints.hint import Domain, Hint, HintKind, NextCall, Of, example, hint
from envtune.environment.hints.paths import (
    CLASS,
    READERS,
    any_path,
    directory_above,
    illegal_name,
    is_entry,
    near_name,
    no_text,
    not_there,
    nothing_above,
    path_through,
    place,
    plain_name,
    readable,
    taken,
    taken_by,
    this_directory,
)

_CONSTRAINT, _DEPENDENCY = HintKind.CONSTRAINT, HintKind.DEPENDENCY
_READERS = " ".join(sorted(READERS))
_LOOK_UP = f"{_READERS} rm mv cp rmdir cd"
_ABSENT = "No such "  # file, directory, or file or directory
_ABSENT_CD = f"{_ABSENT}|Unsupported path"
_TO_PATH = " path in destination|path not allowed in destination|no path allowed in destination"
_ABSENT_PATH = f"{_ABSENT}|Invalid character|Unsupported path"

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
        hint("fs.cd.parent", _DEPENDENCY, "cd", _ABSENT_CD, "That is the directory above this one.", directory_above,
             next=_ABOVE, authors=(2,),
             examples=(example("cd(folder='docs')", "cd(folder='home')"),
                       example("cd(folder='docs')", "cd(folder='../')", release="paper"))),
        hint("fs.cd.top", _CONSTRAINT, "cd", _ABSENT_CD, "This is the top directory: nothing is above it.", nothing_above,
             next=_LS, authors=(3,), examples=example("cd(folder='../docs')")),
        hint("fs.cd.same", _CONSTRAINT, "cd", _ABSENT_CD, "That is the current directory already.", this_directory, next=_LS,
             authors=(2,), examples=example("cd(folder='home')")),
        hint("fs.name.plain", _CONSTRAINT, _LOOK_UP, _ABSENT_PATH,
             "Give its plain name, which is in the current directory: {plain}.", plain_name, retry=Of("changed"),
             authors=(3, 13, 17, 19, 23, 25, 32, 37, 39, 41),
             examples=(example("cat(file_name='./notes.txt')"), example("rm(file_name='/notes.txt')"),
                       example("tail(file_name='home/notes.txt')"))),
        hint("fs.cd.path", _CONSTRAINT, "cd", _ABSENT_CD, "Change one directory at a time.", path_through(),
             next=NextCall("cd", "Begin with {call}.", {"folder": Of("first")}),
             authors=(3,), examples=(example("cd(folder='docs/none')"), example("cd(folder='docs')", "cd(folder='../empty')"))),
        hint("fs.cd.path.unknown", _CONSTRAINT, "cd", _ABSENT_CD,
             "Give the name of one directory that is in the current one, or go up first.", any_path(), next=_LS,
             authors=(3,), examples=(example("cd(folder='none/docs')"), example("cd(folder='/a/b')"))),
        hint("fs.name.path", _DEPENDENCY, _LOOK_UP, _ABSENT_PATH,
             "Paths are not accepted here, only names in the current directory.", path_through(), next=_GO,
             authors=(13, 17, 19, 23, 25, 32, 37, 39, 41),
             examples=(example("cat(file_name='docs/a.txt')"), example("cp(source='docs/a.txt', destination='b')"),
                       example("diff(file_name1='notes.txt', file_name2='docs/a.txt')"))),
        hint("fs.name.path.unknown", _CONSTRAINT, _LOOK_UP, _ABSENT_PATH,
             "Paths are not accepted here, only names in the current directory.", any_path(), next=_LS,
             authors=(13, 17, 19, 23, 25, 32, 37, 39, 41), examples=example("wc(file_name='/x/y.txt')")),
        hint("fs.directory", _CONSTRAINT, _READERS, "No such file|Is a directory",
             "{name} is a directory, and this tool needs a file.", place("here"),
             next=NextCall("cd", "Go into it with {call} to get at its files.", {"folder": Of("name")}),
             authors=(14, 16, 20, 22, 29, 30, 31),
             examples=(example("cat(file_name='docs')"), example("sort(file_name='docs')"),
                       example("diff(file_name1='notes.txt', file_name2='docs')"))),
        hint("fs.cd.file", _CONSTRAINT, "cd", _ABSENT, "{name} is a file, not a directory.", readable,
             next=NextCall("cat", "Read it with {call}.", {"file_name": Of("name")}), authors=(2,),
             examples=example("cd(folder='notes.txt')")),
        hint("fs.cd.file.name", _CONSTRAINT, "cd", _ABSENT, "{name} is a file, not a directory.", place("here"), next=_LS,
             authors=(2,), examples=example("mv(source='a', destination='a:b')", "cd(folder='a:b')")),
        hint("fs.name.near", _DEPENDENCY, _LOOK_UP, _ABSENT,
             "The current directory has no such name; the closest that it has is {near}.", near_name, needs="ls",
             retry=Of("changed"), authors=(2, 15, 18, 21, 24, 27, 28, 33, 38, 40, 42),
             examples=(example("cat(file_name='Notes.txt')"), example("cd(folder='doc')"))),
        hint("fs.name.below", _DEPENDENCY, _LOOK_UP, _ABSENT, "{name} is not in the current directory.",
             place("below"),
             next=(_DOWN, NextCall("ls", "It is in a directory further down: call ls to see which there are.", {})),
             authors=(2, 15, 18, 21, 24, 26, 27, 28, 33, 38, 40, 42),
             examples=(example("cat(file_name='a.txt')"), example("rmdir(dir_name='old')"),
                       example("cd(folder='old')", held_out="find"))),
        hint("fs.name.elsewhere", _DEPENDENCY, _LOOK_UP, _ABSENT, "{name} is not in the current directory.",
             place("elsewhere"), next=_UP, authors=(2, 15, 18, 21, 24, 26, 27, 28, 33, 38, 40, 42),
             examples=(example("cd(folder='docs')", "cat(file_name='notes.txt')"),
                       example("cd(folder='docs')", "mv(source='empty', destination='b')"))),
        hint("fs.name.nowhere", _DEPENDENCY, _LOOK_UP, _ABSENT, "{name} is not in the current directory.",
             place("nowhere"), next=(_LS, NextCall("find", "Call find to see all that there is from here.", {})),
             authors=(2, 15, 18, 21, 24, 26, 27, 28, 33, 38, 40, 42),
             examples=(example("cd(folder='zzz')"), example("tail(file_name='zzz')"),
                       example("cp(source='zzz', destination='b')", held_out="ls"))),
    )  # fmt: skip


FILE_SYSTEM = Domain(
    "fs",
    CLASS,
    (
        hint("fs.cd.root", _CONSTRAINT, "cd", "already the root", "This is the top directory: nothing is above it.",
             nothing_above, next=_LS, authors=(1,), examples=example("cd(folder='..')")),
        *_lookups(),
        hint("fs.make.path", _DEPENDENCY, "mkdir touch echo", "Invalid character",
             "Give a plain name: it is for the current directory.", path_through("dir_name", "file_name"),
             next=NextCall("cd", "Go to another one first, beginning with {call}.", {"folder": Of("first")}),
             authors=(4, 7, 10), examples=(example("mkdir(dir_name='docs/new')"), example("touch(file_name='docs/b')"))),
        hint("fs.make.path.unknown", _CONSTRAINT, "mkdir touch echo", "Invalid character",
             "Give a plain name without '/': it is for the current directory.", any_path("dir_name", "file_name"),
             authors=(4, 7, 10),
             examples=(example("mkdir(dir_name='a/b')"), example("echo(content='x', file_name='/a')"))),
        hint("fs.make.characters", _CONSTRAINT, "mkdir touch echo cat", "Invalid character",
             "A name must have none of | / \\ ? % * : \" > <", illegal_name("dir_name", "file_name"), retry=Of("changed"),
             authors=(5, 8, 11), examples=(example("mkdir(dir_name='a?b')"), example("cat(file_name='a*')"))),
        hint("fs.make.taken", _CONSTRAINT, "mkdir", "File exists",
             "The current directory has a {what} of that name already. Choose another name.",
             taken_by("dir_name", directory=False), retry=Of("changed"), authors=(6,),
             examples=example("mkdir(dir_name='notes.txt')")),
        hint("fs.make.taken.directory", _CONSTRAINT, "mkdir", "File exists",
             "The current directory has a {what} of that name already: it can be used as it is.", taken("dir_name"),
             retry=Of("changed"), authors=(6,), examples=example("mkdir(dir_name='docs')")),
        hint("fs.make.taken.other", _CONSTRAINT, "touch", "File exists",
             "The current directory has a {what} of that name already. Choose another name.",
             taken_by("file_name", directory=True), retry=Of("changed"), authors=(9,),
             examples=example("touch(file_name='docs')")),
        hint("fs.make.taken.file", _CONSTRAINT, "touch", "File exists",
             "The current directory has a {what} of that name already: it can be used as it is.", taken("file_name"),
             retry=Of("changed"), authors=(9,), examples=example("touch(file_name='notes.txt')")),
        hint("fs.echo.directory", _CONSTRAINT, "echo", "_write'",
             "{file_name} is a directory, and text goes into a file.", is_entry("file_name", directory=True),
             next=NextCall("cd", "Go into it with {call} to write there.", {"folder": Of("file_name")}),
             authors=(12,), examples=example("echo(content='x', file_name='docs')")),
        hint("fs.echo.missing", _DEPENDENCY, "echo", "No such file", "Text can be written only to a file that is here.",
             not_there, next=NextCall("touch", "Make it first with {call}.", {"file_name": Of("name")}),
             examples=example("echo(content='x', file_name='new.txt')", release="current")),
        hint("fs.wc.mode", _CONSTRAINT, "wc", "invalid mode", "mode is 'l' for lines, 'w' for words or 'c' for characters.",
             one_of("mode", ("l", "w", "c"), "l"), retry=Of("changed"), examples=example("wc(file_name='notes.txt', mode='lines')")),
        hint("fs.destination.path", _CONSTRAINT, "mv cp", _TO_PATH,
             "The destination is one plain name: a directory that is in the current directory, or a new name.",
             path_through("destination"), retry=Of("changed"), authors=(34, 43),
             examples=(example("mv(source='notes.txt', destination='docs/n.txt')"),
                       example("cp(source='notes.txt', destination='empty/x')"))),
        hint("fs.destination.path.unknown", _CONSTRAINT, "mv cp", _TO_PATH,
             "The destination is one plain name: a directory that is in the current directory, or a new name.",
             lambda s: (v := any_path("destination")(s)) and {**v, "plain": v["last"] or "copy"},
             retry={"destination": Of("plain")}, authors=(34, 43),
             examples=example("cp(source='notes.txt', destination='/x/new.txt')")),
        hint("fs.destination.taken", _CONSTRAINT, "mv cp", "File exists|already exists in directory",
             "The directory {destination} has an entry of that name already, and nothing is overwritten.",
             taken_by("destination", directory=True), retry=Of("changed"), authors=(35,),
             examples=(example("mv(source='a', destination='docs')"), example("cp(source='a', destination='docs')"))),
        hint("fs.destination.file", _CONSTRAINT, "mv cp", "Not a directory",
             "{destination} is a file that is there already, and nothing is overwritten. Name a directory, or a name that "
             "is not in use.", taken_by("destination", directory=False), retry=Of("changed"), authors=(36,),
             examples=example("mv(source='a', destination='notes.txt')")),
        hint("fs.rmdir.full", _DEPENDENCY, "rmdir", "Directory not empty", "This tool removes only empty directories.",
             is_entry("dir_name", directory=True),
             next=(NextCall("rm", "Where all that is in it is to go too, {call} removes it.", {"file_name": Of("dir_name")}),
                   NextCall("cd", "Go into it with {call} to see what it has.", {"folder": Of("dir_name")})),
             examples=(example("rmdir(dir_name='docs')"), example("rmdir(dir_name='docs')", held_out="rm"))),
        hint("fs.rmdir.file", _CONSTRAINT, "rmdir", "Not a directory", "{dir_name} is a file, not a directory.",
             is_entry("dir_name", directory=False),
             next=NextCall("rm", "Where the user wants it removed, {call} does it.", {"file_name": Of("dir_name")}),
             examples=example("rmdir(dir_name='notes.txt')")),
        hint("fs.content", _CONSTRAINT, "cat grep sort tail wc diff du",
             r"^Error during execution: ('\w+' object has no attribute '(splitlines|encode|split)'|object of type '\w+' has no len|"
             r"'utf-8' codec can't encode)",
             "A file holds what is no text, so this tool cannot read it.", no_text,
             next=NextCall("echo", "Where the user says what it is to hold, write that with {call}."),
             examples=(example("echo(content=5, file_name='notes.txt')", "sort(file_name='notes.txt')"),
                       example("echo(content=5, file_name='notes.txt')", "du()"))),
        hint("fs.find.path", _CONSTRAINT, "find", "No such file or directory",
             "path is a directory: one in or below the current one, a whole path from the top, or '.' for the current one.", retry={"path": "."},
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
