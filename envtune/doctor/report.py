"""The checks as a table with a verdict, and as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from envtune.doctor.check import Check, Status

_STYLES = {Status.OK: "green", Status.WARNING: "yellow", Status.FAILED: "bold red", Status.NOT_APPLICABLE: "dim"}


def print_report(profile: str, checks: Sequence[Check], console: Console) -> None:
    """A line a check, what to do under what was found, and the verdict."""
    table = Table(
        Column("check", no_wrap=True),
        Column("", no_wrap=True),
        Column("found, and what to do", overflow="fold"),
        title=f"Can this machine run the profile {profile}?",
        title_justify="left",
    )
    group = ""
    for check in checks:
        if group and check.group != group:
            table.add_section()
        group = check.group
        found = Text(check.found)
        if check.do:
            found.append(f"\n-> {check.do}", style=_STYLES[check.status])
        name = check.name if check.name == group else f"{group}: {check.name}"
        table.add_row(name, Text(check.status.value, style=_STYLES[check.status]), found)
    console.print(table)
    console.print(verdict(profile, checks), style="bold red" if has_failed(checks) else "bold green", markup=False)


def has_failed(checks: Sequence[Check]) -> bool:
    """Whether any check failed."""
    return any(check.status is Status.FAILED for check in checks)


def verdict(profile: str, checks: Sequence[Check]) -> str:
    """One sentence; the failed checks by name."""
    count = Counter(check.status for check in checks)
    warnings = f"{count[Status.WARNING]} warning{'' if count[Status.WARNING] == 1 else 's'}"
    if not has_failed(checks):
        return f"Nothing found that keeps the profile {profile} from running here; {warnings}."
    names = ", ".join(f"{check.group}: {check.name}" for check in checks if check.status is Status.FAILED)
    return f"The profile {profile} would not run here: {count[Status.FAILED]} failed ({names}), {warnings}."


def as_json(profile: str, checks: Sequence[Check]) -> dict[str, Any]:
    """{"profile", "ok", "counts": status -> number, "checks": [{"group", "name", "status", "found", "do"}]}."""
    count = Counter(check.status.value for check in checks)
    return {
        "profile": profile,
        "ok": not has_failed(checks),
        "counts": {status.value: count[status.value] for status in Status},
        "checks": [asdict(check) for check in checks],
    }
