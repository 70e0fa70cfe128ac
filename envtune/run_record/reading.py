"""Reading what a run left: JSON files, times, and sums of numbers of which some may be missing."""

from __future__ import annotations

import datetime
import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from envtune.errors import EnvtuneError
from envtune.training import metrics

Steps = list[tuple[int, dict[str, Any]]]


def read_object(path: Path) -> dict[str, Any] | None:
    """The JSON object in a file, None when there is no such file. Raises EnvtuneError for anything else."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise EnvtuneError(f"{path} cannot be read ({error}); mend or remove it") from error
    if not isinstance(value, dict):
        raise EnvtuneError(f"{path} holds no JSON object; mend or remove it")
    return value


def read_steps(stage_dir: Path) -> Steps:
    """(step, metrics) of the training steps that count, in order; a validation before the first one has step 0."""
    try:
        return list(metrics.merged(stage_dir))
    except (ValueError, KeyError, TypeError) as error:
        raise EnvtuneError(
            f"{stage_dir / 'attempts'}: a verl.jsonl or attempt.json in it cannot be read ({error}); mend it"
        ) from error


def as_time(text: str | None) -> datetime.datetime | None:
    """A time that was written as ISO 8601, in UTC where it names no zone; None for none."""
    if text is None:
        return None
    try:
        time = datetime.datetime.fromisoformat(text)
    except (TypeError, ValueError) as error:
        raise EnvtuneError(f"{text!r} in an attempt.json or end.json is no ISO time; mend that file") from error
    return time if time.tzinfo else time.replace(tzinfo=datetime.UTC)


def as_text(time: datetime.datetime) -> str:
    """A time as records have it: ISO 8601, UTC, whole seconds."""
    return time.astimezone(datetime.UTC).isoformat(timespec="seconds")


def number(value: Any) -> float | None:
    """A finite number as it is, None for anything else: NaN and infinity are no JSON."""
    return value if isinstance(value, (int, float)) and math.isfinite(value) else None


def total(values: Iterable[Any]) -> float | None:
    """The sum; None when there is nothing to add, or when one of them is unknown: a part of a sum says nothing."""
    known = [number(value) for value in values]
    return None if not known or None in known else sum(value for value in known if value is not None)


def finite(value: Any) -> Any:
    """A JSON value in which NaN and infinities are null, and tuples lists."""
    if isinstance(value, float):
        return number(value)
    if isinstance(value, Mapping):
        return {str(key): finite(inner) for key, inner in value.items()}
    return [finite(inner) for inner in value] if isinstance(value, (list, tuple)) else value
