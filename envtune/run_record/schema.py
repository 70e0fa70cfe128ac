"""What run.json must have, and reading one, of this version or an older one.

Version 2, the current one: see `_TOP`, `_STAGE` and `_EVALUATION`; `envtune.run_record.stages` says what a stage's entries
mean, `envtune.run_record.evaluations` those of an evaluation: checkpoint -> suite -> runs.
Version 1 knew one suite and one run of it: its "evaluation" was checkpoint -> run, with "progress" for "score".
Version 0, of before there were arms and gates: {"schema": 0, "written", "run": {"name", "profile", "seed"}, "stages":
[the done.json of each stage that is done, in order]}.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from envtune.errors import EnvtuneError
from envtune.run_record.evaluations import BFCL_V3
from envtune.run_record.reading import number, read_object
from envtune.run_record.stages import STATUSES, TOKENS, run_status, totals

SCHEMA_VERSION = 2
_MAYBE_TEXT, _MAYBE_DICT, _MAYBE_NUMBER = (str, type(None)), (dict, type(None)), (int, float, type(None))
_TOP = MappingProxyType(
    {
        "written": str, "run": dict, "as_of": _MAYBE_TEXT, "code": dict, "image": _MAYBE_TEXT, "python": _MAYBE_TEXT,
        "packages": dict, "hardware": _MAYBE_DICT, "bfcl": _MAYBE_DICT, "split": _MAYBE_DICT, "prompt": _MAYBE_DICT,
        "hints": dict, "seeds": dict, "stages": list, "evaluation": dict, "totals": dict,
    }
)  # fmt: skip
_STAGE = MappingProxyType(
    {
        "name": str, "aim": _MAYBE_TEXT, "data": _MAYBE_TEXT, "reward": _MAYBE_TEXT, "feedback": _MAYBE_TEXT,
        "status": str, "steps": int, "planned_steps": (int, type(None)), "attempts": list, "seconds": _MAYBE_NUMBER,
        "seconds_spent": _MAYBE_NUMBER, "tokens": dict, "gpu_hours": _MAYBE_NUMBER, "core_hours": _MAYBE_NUMBER,
        "rollout_idle_share": _MAYBE_NUMBER, "time_split": _MAYBE_DICT, "gate": _MAYBE_DICT, "start": _MAYBE_DICT,
        "model_sha256": _MAYBE_TEXT, "metrics": dict,
    }
)  # fmt: skip
_RUN = MappingProxyType({"name": str, "profile": str, "arm": str, "seed": int, "status": str})
_TOTALS = MappingProxyType(
    {"steps": _MAYBE_NUMBER, "seconds": _MAYBE_NUMBER, "seconds_spent": _MAYBE_NUMBER, "gpu_hours": _MAYBE_NUMBER,
     "core_hours": _MAYBE_NUMBER, "tokens": dict}
)  # fmt: skip
_EVALUATION = MappingProxyType(
    {
        "seed": (int, type(None)), "model": _MAYBE_TEXT, "checkpoint_sha256": _MAYBE_TEXT,
        "training_steps": (int, type(None)), "items": _MAYBE_DICT, "counts": _MAYBE_DICT, "accuracy": _MAYBE_DICT,
        "average": _MAYBE_NUMBER, "score": _MAYBE_DICT, "protocol": _MAYBE_DICT, "release": _MAYBE_TEXT,
        "packages": _MAYBE_DICT, "options": _MAYBE_DICT, "user": _MAYBE_DICT, "decoding": _MAYBE_DICT,
        "seconds": _MAYBE_NUMBER, "commit": _MAYBE_TEXT,
    }
)  # fmt: skip


def read_run_record(path: Path) -> dict[str, Any]:
    """A run's record in the current schema, whichever it was written in.

    Raises EnvtuneError when there is none, when it is ill-formed, or when a newer release wrote it.
    """
    record = read_object(path)
    if record is None:
        raise EnvtuneError(f"{path}: there is no such record; `envtune record` writes it")
    version = record.get("schema")
    if not isinstance(version, int) or isinstance(version, bool) or version < 0:
        raise EnvtuneError(f"{path} names no schema version and is no run's record; `envtune record` writes it anew")
    if version > SCHEMA_VERSION:
        raise EnvtuneError(
            f"{path} has schema version {version}, this release reads up to {SCHEMA_VERSION}; use the one that wrote it"
        )
    try:
        while record["schema"] < SCHEMA_VERSION:
            record = _MIGRATIONS[record["schema"]](record)
        _check(record)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        why = error if isinstance(error, ValueError) else repr(error)
        raise EnvtuneError(
            f"{path} is no record of schema version {version} ({why}); `envtune record` writes it anew"
        ) from error
    return record


def _check(record: Mapping[str, Any]) -> None:
    """Raises ValueError that names what is missing or of another kind."""
    _check_keys(record, _TOP, "")
    _check_keys(record["run"], _RUN, "run.")
    _check_keys(record["totals"], _TOTALS, "totals.")
    for index, stage in enumerate(record["stages"]):
        _check_keys(stage, _STAGE, f"stages[{index}].")
        _check_keys(stage["tokens"], dict.fromkeys(TOKENS, _MAYBE_NUMBER), f"stages[{index}].tokens.")
    for checkpoint, suites in record["evaluation"].items():
        _check_keys(suites, dict.fromkeys(suites, list), f"evaluation.{checkpoint}.")
        for suite, runs in suites.items():
            for index, run in enumerate(runs):
                where = f"evaluation.{checkpoint}.{suite}[{index}]."
                _check_keys(run, _EVALUATION, where)
                if not isinstance(run.get("complete"), bool):
                    raise ValueError(f"{where}complete must be true or false")
    for status in (record["run"]["status"], *(stage["status"] for stage in record["stages"])):
        if status not in STATUSES:
            raise ValueError(f"unknown status {status!r}")


def _check_keys(value: Any, wanted: Mapping[str, Any], where: str) -> None:
    if not isinstance(value, dict):
        raise ValueError(f"{where.rstrip('.')} is no object")
    for key, kind in wanted.items():
        if key not in value:
            raise ValueError(f"{where}{key} is missing")
        if not isinstance(value[key], kind) or isinstance(value[key], bool):
            raise ValueError(f"{where}{key} is of the wrong kind")


def _from_0(old: Mapping[str, Any]) -> dict[str, Any]:
    """Version 0 knew the stages that were done. What it did not say is None."""
    stages = [_stage_from_0(done) for done in old["stages"]]
    origin = old["stages"][-1]["provenance"] if stages else {}
    return {
        "schema": 1,
        "written": old["written"],
        "run": {**old["run"], "arm": "full", "status": run_status(stages), "began": None, "ended": None},
        "as_of": f"{stages[-1]['name']}/done.json" if stages else None,
        "code": {
            **{key: origin.get(key) for key in ("commit", "dirty", "envtune")},
            "diff": None,
            "diff_sha256": None,
            "diff_file": None,
        },
        "image": None,
        "python": origin.get("python"),
        "packages": origin.get("packages", {}),
        "hardware": None,
        "bfcl": None,
        "split": None,
        "prompt": None,
        "hints": {
            done["stage"]: {"set": done["feedback"]["hints"], "digest": done["feedback"]["digest"]}
            for done in old["stages"]
        },
        "seeds": {"run": old["run"]["seed"]},
        "stages": stages,
        "evaluation": {},
        "totals": totals(stages),
    }


def _stage_from_0(done: Mapping[str, Any]) -> dict[str, Any]:
    unknown = dict.fromkeys(key for key in _STAGE)
    return {
        **unknown,
        "name": done["stage"],
        "status": "finished",
        "steps": done["steps"],
        "attempts": [],
        # it timed the last attempt alone
        "seconds_spent": number(done.get("seconds_last_attempt")) if done["attempts"] == 1 else None,
        "tokens": dict.fromkeys(TOKENS),
        "start": done["settings"]["start"],
        "model_sha256": done["model_sha256"],
        "metrics": {},
    }


def _from_1(old: Mapping[str, Any]) -> dict[str, Any]:
    """Version 1's evaluation of a checkpoint is today's one run of bfcl-v3."""
    evaluation = {checkpoint: {BFCL_V3: [_run_from_1(run)]} for checkpoint, run in old["evaluation"].items()}
    return {**old, "schema": 2, "evaluation": evaluation}


def _run_from_1(old: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in old.items() if key != "progress"}
    seed = (old["decoding"] or {}).get("seed")
    return {**dict.fromkeys(_EVALUATION), **kept, "seed": seed, "score": old["progress"]}


# version -> to the next one
_MIGRATIONS: Mapping[int, Callable[[Mapping[str, Any]], dict[str, Any]]] = MappingProxyType({0: _from_0, 1: _from_1})
