"""`envtune hints`: which failures the hint sets cover, the hints themselves, and what follows them.

envtune hints                       failures, and how many each set covers
envtune hints --list                every hint: what for, what it says
envtune hints runs/.../1.jsonl      in stored trajectories: how often each was given, and the step after it
envtune hints --out results/hints   all of it on two scripted policies over all tasks, as files (make hints)
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Column, Table

from envtune.bfcl import RELEASES, get_release
from envtune.bfcl.failure_sites import SiteKind
from envtune.environment import Episode, Trajectory
from envtune.environment.hints import HintKind, hint_set
from envtune.environment.scripted_policies import PerturbedGold, RandomPolicy, play
from envtune.files import atomic_write
from envtune.hint_study import HintOutcomes, SiteCoverage, coverage, hint_outcomes
from envtune.hint_study.outcomes import UNHINTED
from envtune.provenance import provenance
from envtune.tasks import Task, load_tasks

Row = Mapping[str, str | int]
SETS = ("authors", "full")
COUNTED = tuple(kind for kind in SiteKind if kind is not SiteKind.OTHER)  # what the authors' release was counted by
POLICIES = ("perturbed-gold", "random")


def coverage_rows(release: str) -> list[dict[str, str | int]]:
    """One row a class and kind of failure, and sums. dependency, constraint: of what `full` says there."""
    found = coverage(release, SETS)
    classes = dict.fromkeys(row.site.class_name for row in found)
    rows = [
        _count(name, kind.value, chosen)
        for name in classes
        for kind in SiteKind
        if (chosen := [row for row in found if row.site.class_name == name and row.site.kind is kind])
    ]
    rows.append(_count("all", "error, raise, status", [row for row in found if row.site.kind in COUNTED]))
    rows.append(_count("all", "all", found))
    return rows


def _count(class_name: str, kind: str, rows: Sequence[SiteCoverage]) -> dict[str, str | int]:
    kinds = Counter(given.kind for row in rows if (given := row.given.get("full")) is not None)
    return {
        "class": class_name,
        "failure": kind,
        "sites": len(rows),
        "reachable": sum(not row.unreachable for row in rows),
        **{name: sum(row.covered(name) for row in rows) for name in SETS},
        "dependency": kinds[HintKind.DEPENDENCY],
        "constraint": kinds[HintKind.CONSTRAINT],
    }


def print_coverage(releases: Iterable[str], console: Console) -> None:
    """A table a release."""
    for release in releases:
        rows = coverage_rows(release)
        by_class = [
            {**_sum([row for row in rows if row["class"] == name]), "failure": ""}
            for name in dict.fromkeys(row["class"] for row in rows)
            if name != "all"
        ]
        title = f"{_release(release)}: places where a tool can fail, and those where a set has a hint"
        console.print(_table([*by_class, *rows[-2:]], title, _caption(rows)))


def _sum(rows: Sequence[Mapping[str, str | int]]) -> dict[str, str | int]:
    return {
        name: value if isinstance(value, str) else sum(int(row[name]) for row in rows)
        for name, value in rows[0].items()
    }


def _caption(rows: Sequence[Mapping[str, str | int]]) -> str:
    counted, whole = rows[-2:]
    share = 100 * int(counted["authors"]) / int(counted["sites"])
    return (
        f"authors: {counted['authors']} of {counted['sites']} errors, raises and False statuses ({share:.1f} %). full: "
        f"{whole['full']} of the {whole['reachable']} places that a call can end at. Beside these, full has hints for calls "
        "that reach no tool, for replies that are not in the format, and for Python's own errors."
    )


def print_hints(feedback: str, console: Console) -> None:
    """Every hint of a set: what it is for and what it says."""
    hints = hint_set(feedback)
    table = Table("id", "kind", Column("tools", ratio=1), Column("says", ratio=2), "authors'")
    for hint in hints.hints:
        says = " ".join([hint.text, *(call.says.replace("{call}", call.tool) for call in hint.next)])
        tools = "any" if hint.tools is None else " ".join(sorted(hint.tools)) or "the reply"
        table.add_row(hint.id, hint.kind.value, tools, says, " ".join(map(str, hint.authors)))
    table.title = f"{hints.name}: {len(hints.hints)} hints, digest {hints.digest}"
    console.print(table)


def print_outcomes(trajectories: Iterable[tuple[Task, Trajectory]], console: Console) -> None:
    """What followed the failures of each hint."""
    rows = outcome_rows(hint_outcomes(trajectories))
    title = "Failures by the hint that is for them, and the model's next step in the same turn"
    caption = (
        "given, withheld: failures where the model read the hint, and where it did not. ok: share of the next steps that "
        "called something without a failure. proposed call works: of the calls that hints propose, made at once."
    )
    console.print(_table(rows, title, caption))


def outcome_rows(found: Mapping[str, HintOutcomes]) -> list[dict[str, str | int]]:
    """One row a hint, most frequent first, and the sum."""
    rows = sorted(found.values(), key=lambda row: (-(row.given.times + row.withheld.times), row.id))
    total = HintOutcomes("all")
    for row in rows:
        for one, whole in ((row.given, total.given), (row.withheld, total.withheld)):
            for name in ("times", "next_step", "succeeded", "answered"):
                setattr(whole, name, getattr(whole, name) + getattr(one, name))
        total.proposed, total.worked = total.proposed + row.proposed, total.worked + row.worked
    return [_outcome(row) for row in (*rows, total)]


def _outcome(row: HintOutcomes) -> dict[str, str | int]:
    return {
        "hint": row.id if row.id != UNHINTED else "(none)",
        "kind": row.kind.value if row.kind else "",
        "given": row.given.times,
        "next step": row.given.next_step,
        "ok": _percent(row.given.succeeded, row.given.next_step),
        "withheld": row.withheld.times,
        "next step ": row.withheld.next_step,
        "ok ": _percent(row.withheld.succeeded, row.withheld.next_step),
        "proposed calls": row.proposed,
        "work": _percent(row.worked, row.proposed),
    }


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else ""


def scripted_trajectories(
    release: str, policy: str, feedback: str = "full", seed: int = 0
) -> Iterator[tuple[Task, Trajectory]]:
    """One episode of each of the release's 800 tasks, played by a scripted policy (one of POLICIES)."""
    made = {"perturbed-gold": PerturbedGold, "random": RandomPolicy}[policy]
    for task in load_tasks(release):
        yield task, play(Episode(task, feedback), made(task, seed))


def write_hints(folder: Path, console: Console) -> list[Path]:
    """Write coverage and outcomes of both releases into the folder; gives the files."""
    written, parts = [], []
    for release in RELEASES:
        rows = coverage_rows(release)
        written.append(_write_csv(folder / f"coverage_{release}.csv", rows))
        parts += [f"## {_release(release)}: failures that have a hint", _markdown(rows), _caption(rows)]
        for policy in POLICIES:
            played = track(
                scripted_trajectories(release, policy), f"{release}: {policy}", 800, console=console, transient=True
            )
            outcomes = outcome_rows(hint_outcomes(played))
            written.append(_write_csv(folder / f"outcomes_{release}_{policy}.csv", outcomes))
            parts += [
                f"## {_release(release)}: {policy}, seed 0, all 800 tasks",
                _markdown(outcomes[:40] + outcomes[-1:]),
            ]
            if len(outcomes) > 41:
                parts.append(f"The {len(outcomes) - 41} rarest hints are in the CSV file.")
    about = provenance()
    head = [
        "# Hints, measured",
        "Written by `make hints`. What the columns mean is in `envtune/hint_study/README.md`.",
        f"- hint sets: authors {hint_set('authors').digest}, full {hint_set('full').digest}",
        f"- commit {about['commit']}{' (with changes)' if about['dirty'] else ''}, {about['time']}",
    ]
    path = folder / "README.md"
    with atomic_write(path) as stream:
        stream.write("\n\n".join([head[0], head[1], "\n".join(head[2:]), *parts]) + "\n")
    return [path, *written]


def _release(release: str) -> str:
    return f"BFCL release {release} (bfcl-eval {get_release(release).version})"


def _table(rows: Sequence[Row], title: str, caption: str) -> Table:
    columns = [
        Column(name.strip(), justify="left" if isinstance(value, str) else "right") for name, value in rows[0].items()
    ]
    table = Table(*columns, title=title, caption=caption)
    for row in rows:
        table.add_row(*(str(value) if value != 0 else "" for value in row.values()))
    return table


def _markdown(rows: Sequence[Row]) -> str:
    lines = ["| " + " | ".join(name.strip() for name in rows[0]) + " |"]
    lines.append("|" + "".join("---|" if isinstance(value, str) else "---:|" for value in rows[0].values()))
    lines += ["| " + " | ".join(map(str, row.values())) + " |" for row in rows]
    return "\n".join(lines)


def _write_csv(path: Path, rows: Sequence[Row]) -> Path:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    with atomic_write(path) as out:
        out.write(stream.getvalue())
    return path
