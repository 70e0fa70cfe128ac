"""What verl reports, as one JSON Lines file a stage that survives a resume.

verl's file logger truncates its file when a run is resumed, so each attempt at a stage gets a file of its own,
`attempts/<number>/verl.jsonl`, and `attempts/<number>/attempt.json` says after which step it began. `consolidate`
merges them into `metrics.jsonl`: {"step", "data"} a line, every step once. Steps that an attempt did and no checkpoint
kept are replaced by the next attempt's.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from envtune.errors import EnvtuneError
from envtune.files import write_json, write_jsonl


def new_attempt(stage_dir: Path, start_step: int, about: Mapping[str, Any] | None = None) -> Path:
    """Make the folder of the next attempt, which goes on after `start_step` (0: from the beginning). about: what else
    its attempt.json says."""
    attempts = stage_dir / "attempts"
    number = 1 + max((int(path.name) for path in attempts.glob("[0-9]*")), default=0)
    folder = attempts / f"{number:03d}"
    folder.mkdir(parents=True)
    write_json(folder / "attempt.json", {"start_step": start_step, **(about or {})})
    return folder


def consolidate(stage_dir: Path, last: int | None = None) -> Path:
    """Write metrics.jsonl from all attempts, up to the step `last`, and give its path."""
    path = stage_dir / "metrics.jsonl"
    rows = ({"step": step, "data": data} for step, data in merged(stage_dir) if last is None or step <= last)
    write_jsonl(path, rows)
    return path


def merged(stage_dir: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(step, metrics) of every step, in order.

    A step after an attempt's start is that attempt's alone; at its start it may add to what is there (a resumed run
    validates once more before it goes on).
    """
    steps: dict[int, dict[str, Any]] = {}
    for folder in sorted((stage_dir / "attempts").glob("[0-9]*")):
        try:
            start = json.loads((folder / "attempt.json").read_text(encoding="utf-8"))["start_step"]
        except FileNotFoundError:
            continue  # killed before it began
        steps = {step: data for step, data in steps.items() if step <= start}
        for step, data in read_attempt(folder):
            steps[step] = {**steps.get(step, {}), **data}
    yield from sorted(steps.items())


def last_step(stage_dir: Path) -> int:
    """The last step that was reported and counts; 0 when none was."""
    return max((step for step, _ in merged(stage_dir)), default=0)


def read_attempt(folder: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(step, metrics) as verl wrote them in one attempt; a last line that a kill cut short is left out."""
    path = folder / "verl.jsonl"
    if not path.is_file():
        return
    for number, line in enumerate(path.read_bytes().splitlines(keepends=True), start=1):
        if not line.endswith(b"\n"):
            return
        try:
            row = json.loads(line)
            step, data = int(row["step"]), row["data"]
        except (ValueError, KeyError, TypeError) as error:
            raise EnvtuneError(
                f"{path}: line {number} cannot be read ({error}); mend it, or remove it and those after it: the steps are done again"
            ) from error
        yield step, data
