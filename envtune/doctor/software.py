"""Python, the packages that the profile's extra pins, bytecode, and the commit that records will name."""

from __future__ import annotations

import importlib.util
import platform
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path

from envtune.doctor.check import Outcome, failed, ok, warning

_LISTED = 4  # packages that are named in one line; the rest are counted


def python_version(version: str = platform.python_version(), required: str | None = None) -> Outcome:
    """This interpreter, against what envtune's metadata ask for (`required`, a specifier)."""
    from packaging.specifiers import SpecifierSet

    wanted = required or metadata.metadata("envtune")["Requires-Python"] or ""
    found = f"{version} in {sys.prefix}"
    if SpecifierSet(wanted).contains(version, prereleases=True):
        return ok(found)
    return failed(f"{found}; {wanted} is needed", "make setup PYTHON=/path/to/python3.11 (or 3.12)")


def packages(extra: str, requires: Sequence[str] | None = None) -> Outcome:
    """What the extra requires, and what the extras that it names pin exactly, against what is installed here.

    requires: requirement lines with the markers of extras, as `importlib.metadata.requires` gives them (the default).
    """
    lines = metadata.requires("envtune") or [] if requires is None else requires
    wrong, number = [], 0
    for name, specifier in sorted(set(_wanted(lines, extra))):
        number += 1
        found = _installed(name)
        if found is None:
            wrong.append(f"{name}{specifier}: not installed")
        elif not _satisfies(specifier, found):
            wrong.append(f"{name}{specifier}: {found} is installed")
    if not number:
        return failed("envtune's metadata name no packages", "install envtune anew: make setup")
    if not wrong:
        return ok(f"{number} of {number} with a bound in the extra {extra} are as it says")
    more = f" and {len(wrong) - _LISTED} more" if len(wrong) > _LISTED else ""
    venv = ".venv-gpu" if extra == "gpu" else ".venv"
    return failed(
        f"{len(wrong)} of {number}: {', '.join(wrong[:_LISTED])}{more}",
        f"make setup PROFILE={extra}, and run {venv}/bin/envtune (this is {sys.prefix})",
    )


def _wanted(lines: Sequence[str], extra: str, exact: bool = False) -> Iterator[tuple[str, str]]:
    """(name, specifier) of what is required with an extra. exact: only what is pinned with ==.

    A requirement's own extras are followed, for their exact pins alone: the CPU lock leaves some of the others out.
    """
    from packaging.requirements import Requirement

    for line in lines:
        requirement = Requirement(line)
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        if not exact or any(one.operator == "==" for one in requirement.specifier):
            yield requirement.name.lower(), str(requirement.specifier)
        for inner in requirement.extras:
            yield from _wanted(_requires(requirement.name), inner, exact=True)


def _requires(name: str) -> list[str]:
    try:
        return metadata.requires(name) or []
    except metadata.PackageNotFoundError:
        return []  # it is reported as not installed itself


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _satisfies(specifier: str, version: str) -> bool:
    from packaging.specifiers import SpecifierSet

    return SpecifierSet(specifier).contains(version, prereleases=True)


def bytecode_allowed(environment: Mapping[str, str]) -> Outcome:
    """Whether Python may keep bytecode."""
    if environment.get("PYTHONDONTWRITEBYTECODE"):
        return warning(
            "PYTHONDONTWRITEBYTECODE is set",
            "unset it: without bytecode a run's twenty processes each compile what they import (make unsets it)",
        )
    return ok("Python may keep it")


def bytecode_there(
    modules: Sequence[str] = ("torch", "verl"), find: Callable[[str], Path | None] | None = None
) -> Outcome:
    """Whether the large packages are compiled. find: the file of a module that is not imported; None without one."""
    find = _source if find is None else find
    sources = {name: find(name) for name in modules}
    if absent := [name for name, source in sources.items() if source is None]:
        return failed(f"{' and '.join(absent)} not installed", "make setup")
    files = {name: Path(importlib.util.cache_from_source(str(source))) for name, source in sources.items()}
    missing = [name for name, file in files.items() if not file.is_file()]
    if missing:
        return warning(
            f"{' and '.join(missing)} not compiled",
            f"the first start takes minutes longer: {sys.executable} -m compileall -q -j 0 {Path(sys.prefix) / 'lib'}",
        )
    return ok(f"{' and '.join(modules)} are compiled")


def _source(name: str) -> Path | None:
    found = importlib.util.find_spec(name)  # a top-level name: nothing is imported
    return Path(found.origin) if found and found.origin else None


def commit(found: Mapping[str, object] | None = None) -> Outcome:
    """Whether records can name the commit. found: `envtune.provenance.provenance`'s answer, asked for by default."""
    if found is None:
        from envtune.provenance import provenance

        found = provenance()
    if not found["commit"]:
        return warning(
            "not known: no git checkout that git reads here, and ENVTUNE_COMMIT is not set",
            "set ENVTUNE_COMMIT, or a run cannot be traced to its code; where git refuses a folder of another user's: "
            "git config --global --add safe.directory FOLDER",
        )
    text = str(found["commit"])
    shown = text[:12] if re.fullmatch(r"[0-9a-f]{40}", text) else text
    return ok(f"{shown}, with changes that are not committed" if found["dirty"] else shown)
