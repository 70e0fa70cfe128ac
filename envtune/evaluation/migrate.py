"""Reading what older versions of the kit wrote: a record or a summary of any earlier schema, as one of today's.

version 1   bfcl-v3 only; `category`, `valid`, `task_hash`, and the suite's own figures as fields of the record
version 2   the same fields for every suite: `stratum`, `passed`, `item_sha256`, `score`; the rest in `details`

A change of the fields takes a new version and a step here; what was measured never changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SCHEMA_VERSION = 2

_RENAMED = (("category", "stratum"), ("valid", "passed"), ("task_hash", "item_sha256"), ("progress", "score"))
_KEPT = ("id", "cluster", "outcome", "error_type", "error_message", "seconds", "tokens_in", "tokens_out", "truncated")
_DETAILS = ("turn_scores", "stop_reason", "steps", "tool_calls", "tool_errors", "ill_formed")


def upgrade_record(data: Any) -> Mapping[str, Any]:
    """The fields of a record of any version, in today's names and without "schema". Raises ValueError when the value is
    no record or of a version to come."""
    version = data.get("schema") if isinstance(data, dict) else None
    if version == SCHEMA_VERSION:
        return {key: value for key, value in data.items() if key != "schema"}
    if version != 1:
        raise ValueError(f"not a record of schema version 1 to {SCHEMA_VERSION}")
    known = {"schema", "notes", *_KEPT, *_DETAILS, *(old for old, _ in _RENAMED)}
    if set(data) != known:
        raise ValueError(f"fields are missing or unknown: {', '.join(sorted(known ^ set(data)))}")
    values = {name: data[name] for name in _KEPT}
    values |= {new: data[old] for old, new in _RENAMED}
    details = {name: data[name] for name in _DETAILS if data[name] is not None}
    if data["stop_reason"] == "over_budget":
        details["over_budget"] = True
    return {**values, "requests": data["steps"], "details": details, "notes": data["notes"]}


def upgrade_summary(data: Any) -> dict[str, Any]:
    """A summary.json of any version as one of today's. Raises ValueError when it is none."""
    version = data.get("schema") if isinstance(data, dict) else None
    if version == SCHEMA_VERSION:
        return dict(data)
    if version != 1:
        raise ValueError(f"no summary of schema version 1 to {SCHEMA_VERSION}")
    try:
        return _from_version_1(data)
    except (KeyError, TypeError, AttributeError, ArithmeticError) as error:
        raise ValueError(f"no whole summary of schema version 1 ({error!r})") from None


def _from_version_1(data: Mapping[str, Any]) -> dict[str, Any]:
    summary = {**data, "schema": SCHEMA_VERSION}
    if "categories" in data:
        strata = summary["strata"] = _strata(summary.pop("categories"))
        summary["sound"] = {
            "defects_version": data["sound"]["defects_version"],
            "strata": _strata(data["sound"]["categories"]),
        }
        totals = data["totals"]
        summary["totals"] = {name: totals[name] for name in ("truncated", "tokens_in", "tokens_out")}
        summary["totals"]["requests"] = totals["steps"]
        summary["replies"] = {name: totals[name] for name in ("ill_formed", "tool_calls", "tool_errors")}
        accuracies = [counts["accuracy"] for counts in strata.values()]
        summary["average"] = round(sum(accuracies) / len(accuracies), 4) if data["complete"] else None
    identity = dict(data.get("identity", {}))
    if "tasks_sha256" in identity:
        identity["items_sha256"] = identity.pop("tasks_sha256")
    if "protocol" in identity:  # there was one format
        identity["protocol"] = {**identity["protocol"], "format": "kit"}
    summary["identity"] = identity
    return summary


def _strata(categories: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Counts by stratum, with `progress` under its name of today."""
    return {
        name: {("score" if key == "progress" else key): value for key, value in counts.items()}
        for name, counts in categories.items()
    }
