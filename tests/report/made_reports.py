"""A hand-made run with everything that a report shows: stages, a record, evaluations with conversations, tables, figures."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from helpers.made_curves import make_run_folder

from envtune.evaluation.migrate import SCHEMA_VERSION
from envtune.evaluation.records import Record, summarise_records
from envtune.figures import write_figures
from envtune.files import read_jsonl, sha256_json, write_json, write_jsonl
from envtune.profile import Profile, load_profile
from envtune.run_record import write_run_record
from envtune.tables.collect import copy_records
from envtune.training.metrics import new_attempt

BEGAN = datetime.datetime(2026, 11, 1, 12, tzinfo=datetime.UTC)
STAGES = {"stage1": 4, "stage2": 6, "stage3": 6, "stage4": 5}
STATE, RESPONSE = "multi_turn:instance_state_mismatch", "multi_turn:execution_response_mismatch"
# item -> error at the start and after the last stage, None: passed
ITEMS: Mapping[str, tuple[str | None, str | None]] = {
    "multi_turn_base_100": (None, None),
    "multi_turn_base_101": (STATE, None),
    "multi_turn_base_102": (STATE, None),
    "multi_turn_base_103": (STATE, None),
    "multi_turn_miss_func_104": (STATE, None),
    "multi_turn_miss_func_105": (RESPONSE, None),
    "multi_turn_miss_param_106": (None, STATE),
    "multi_turn_long_context_107": (STATE, RESPONSE),
    "multi_turn_long_context_108": (STATE, STATE),
}
CONFIG = """
algorithm: {adv_estimator: grpo, gamma: 1.0}
actor_rollout_ref: {rollout: {n: 2}}
trainer: {total_training_steps: 10}
"""
TABLE = """# Table 1: in distribution

Written by `make tables`.

| Model | Checkpoint | Average | Base | Missing functions | Missing parameters | Long context | Steps | Seeds | Runs | Commit |
| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
| A model with a long name (4-bit, dequantised) | stage4 | 36.92 [33.1, 40.2] | 50.33 [44.0, 56.1] (151/300) | 40.33 [34.2, 46.0] (121/300) | 29.33 [24.0, 34.9] (88/300) | 27.67 [22.8, 33.0] (83/300) | 21 | 42 43 44 | 3 | `b0610d945461` |
"""


def profile_in(folder: Path, name: str = "cpu") -> Profile:
    """The profile, with its run and its results in that folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ENVTUNE_RUNS", str(folder / "runs"))
        patch.setenv("ENVTUNE_RESULTS", str(folder / "results"))
        return load_profile(name)


def record_of(item: str, error: str | None, message: str = "It does not match.") -> Record:
    stratum = item.removeprefix("multi_turn_").rpartition("_")[0]
    outcome = "failed" if error else "passed"
    return Record(
        item, stratum, item.rpartition("_")[2], outcome, "1" * 64, passed=error is None, error_type=error,
        error_message=message if error else None, score=0.0 if error else 1.0,
    )  # fmt: skip


def talk(item: str, text: str = "Done.") -> dict[str, Any]:
    """A conversation of both formats."""
    call = {"id": "c1", "type": "function", "function": {"name": "cd", "arguments": '{"folder": "document"}'}}
    return {
        "id": item,
        "messages": [
            {"role": "system", "content": "You are an assistant. " * 400},
            {"role": "user", "content": f"Move the report of {item}."},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c1", "content": '{"current_working_directory": "document"}'},
            {"role": "assistant", "content": text},
        ],
    }


def make_evaluation(
    profile: Profile,
    checkpoint: str,
    records: Sequence[Record],
    *,
    suite: str = "bfcl-v3",
    seed: int = 42,
    talks: Sequence[Mapping[str, Any]] = (),
    **identity: Any,
) -> Path:
    """One repeat in the run's evaluation folder. identity: over what is said of it."""
    folder = profile.run_dir / "evaluation" / checkpoint / suite / f"seed{seed}"
    items: dict[str, int] = {}
    for record in records:
        items[record.stratum] = items.get(record.stratum, 0) + 1
    who = {
        "suite": suite,
        "protocol": {"name": "kit-format-1", "format": "kit", "description": "as made", "feedback": "none"},
        "release": "paper", "packages": {"bfcl-eval": "2025.6.8"}, "options": {}, "items": items,
        "items_sha256": sha256_json([[record.id, record.item_sha256] for record in records]),
        "model": "Made-up 1B", "checkpoint_sha256": f"weights of {checkpoint}",
        "decoding": {"temperature": 0.0, "seed": seed, "max_tokens": 96},
        **identity,
    }  # fmt: skip
    about = {"checkpoint": checkpoint, "training_steps": 3, "seed": seed, "notes": ["No claim of skill."]}
    origin = {"commit": "c0ffee" * 6, "dirty": False, "time": "2026-11-01T10:00:00+00:00"}
    summary = {"schema": SCHEMA_VERSION, "identity": who, "about": about, "seconds": 61.0, "provenance": origin}
    write_json(folder / "summary.json", {**summary, **summarise_records(records)})
    write_jsonl(folder / "records.jsonl", [record.as_dict() for record in records])
    write_jsonl(folder / "trajectories.jsonl", talks)
    return folder


def make_stages(profile: Profile) -> None:
    """Training of all stages, each in one attempt, and run.json."""
    make_run_folder(profile.run_dir.parent, profile.run_dir.name, profile.arm, profile.seed, STAGES)
    for number, stage in enumerate(STAGES):
        folder, began = profile.stage_dir(stage), BEGAN + datetime.timedelta(hours=number)
        layout = {"nodes": 1, "gpus_per_node": 1, "device": "cpu"}
        hardware = {"host": {"cores": 2, "memory_bytes": 2**33, "gpus": []}}
        (folder / "config.yaml").write_text(CONFIG, encoding="utf-8")
        attempt = new_attempt(folder, 0, {"began": began.isoformat(), "layout": layout, "hardware": hardware})
        write_jsonl(attempt / "verl.jsonl", [row for _, row in read_jsonl(folder / "metrics.jsonl")])
        ended = began + datetime.timedelta(minutes=40)
        write_json(attempt / "end.json", {"ended": ended.isoformat(), "outcome": "finished"})
        done = {
            "stage": stage, "feedback": {"hints": "none", "digest": "d"}, "steps": STAGES[stage], "attempts": 1,
            "model_sha256": "a" * 64, "settings": {"start": None}, "provenance": {"commit": "c0ffee" * 6, "dirty": False},
        }  # fmt: skip
        write_json(folder / "done.json", done)
    write_run_record(profile)


def make_all(profile: Profile, text: str = "Done.", error_message: str = "It does not match.") -> None:
    """Everything. text: the last message of each conversation."""
    make_stages(profile)
    for checkpoint, side in (("start", 0), ("stage2", 0), ("stage4", 1)):
        records = [record_of(item, errors[side], error_message) for item, errors in ITEMS.items()]
        make_evaluation(profile, checkpoint, records, talks=[talk(item, text) for item in ITEMS])
    copy_records(profile.run_dir / "evaluation", ("start", "stage2", "stage4"), profile.results_dir / "records")
    profile.results_dir.mkdir(parents=True, exist_ok=True)
    (profile.results_dir / "table1.md").write_text(TABLE, encoding="utf-8")
    write_figures(profile)
