"""Hand-made records for the gate: whole and consistent, in the layouts in which they lie on a disk."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from envtune.cli import app
from envtune.evaluation.migrate import SCHEMA_VERSION
from envtune.evaluation.records import Record, summarise_records
from envtune.files import sha256_json, write_json, write_jsonl

SUITE = "tau2"
PROTOCOL = {"name": "tau2-1-kit", "format": "kit", "description": "as its authors run it", "user_simulator": True}


def verdicts(passed: int, of: int) -> list[bool]:
    """`of` verdicts, the first of which are passes."""
    return [number < passed for number in range(of)]


def made_records(strata: Mapping[str, Sequence[bool]]) -> list[Record]:
    """Stratum -> verdicts; every item is a cluster of its own."""
    return [
        Record(
            f"{stratum}_{number}", stratum, f"{stratum}-{number}", "passed" if passed else "failed",
            sha256_json(f"{stratum}_{number}"), passed=passed, seconds=1.5, requests=3, details={"steps": 2},
            notes=("a note",),
        )
        for stratum, listed in strata.items()
        for number, passed in enumerate(listed)
    ]  # fmt: skip


def made_summary(records: Sequence[Record], suite: str, checkpoint: str, seed: int, **change: Any) -> dict[str, Any]:
    """change: of the identity."""
    items: dict[str, int] = {}
    for record in records:
        items[record.stratum] = items.get(record.stratum, 0) + 1
    identity = {
        "suite": suite, "protocol": PROTOCOL, "packages": {"upstream": "1.2.3"}, "options": {}, "release": "paper",
        "items": items, "items_sha256": sha256_json([[record.id, record.item_sha256] for record in records]),
        "tools_cut": [4], "model": "Scripted", "checkpoint_sha256": f"weights of {checkpoint}",
        "decoding": {"temperature": 0.5, "seed": seed}, "user": {"model": "user-1", "decoding": {}}, **change,
    }  # fmt: skip
    return {
        "schema": SCHEMA_VERSION,
        "identity": identity,
        "about": {"checkpoint": checkpoint, "seed": seed},
        "provenance": {"commit": "c0ffee" * 6, "dirty": False, "time": "2026-11-01T10:00:00+00:00"},
        "seconds": 2.0,
        **summarise_records(records),
    }


def make_side(
    records_folder: Path,
    strata: Mapping[str, Sequence[bool]],
    suite: str = SUITE,
    checkpoint: str = "stage4",
    seed: int = 42,
    **change: Any,
) -> Path:
    """One repeat as results/<profile>/records has it; gives the folder."""
    records = made_records(strata)
    path = records_folder / suite / f"{checkpoint}.seed{seed}.json"
    write_json(path, made_summary(records, suite, checkpoint, seed, **change))
    write_jsonl(path.with_suffix(".jsonl.gz"), [record.as_dict() for record in records])
    return records_folder


def make_run(
    evaluation: Path, strata: Mapping[str, Sequence[bool]], checkpoint: str = "stage4", seed: int = 42
) -> Path:
    """One repeat as a run leaves it; gives its folder."""
    records = made_records(strata)
    folder = evaluation / checkpoint / SUITE / f"seed{seed}"
    write_json(folder / "summary.json", made_summary(records, SUITE, checkpoint, seed))
    write_jsonl(folder / "records.jsonl", [record.as_dict() for record in records])
    return folder


def regress(*arguments: object) -> Result:
    """The command in this process. A traceback fails the test that calls it."""
    done = CliRunner().invoke(app, ["regress", *map(str, arguments)])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def refused(done: Result, *named: str) -> str:
    """The one sentence of a refusal; all of `named` must be in it."""
    assert done.exit_code == 2, done.output
    assert done.stdout == ""
    assert done.stderr.startswith("envtune: ") and done.stderr.count("\n") == 1, done.stderr
    for name in named:
        assert name in done.stderr, done.stderr
    return done.stderr


def again(folder: Path) -> Path:
    """A copy beside it, as if all of it had been measured again with the same verdicts."""
    copy = Path(shutil.copytree(folder, folder.with_name(f"{folder.name}-again")))
    for path in copy.rglob("*.json"):
        edit(path, lambda data: data["provenance"].update(time="2026-11-02T10:00:00+00:00"))
    return copy


def edit(path: Path, change: Any) -> None:
    """Rewrite a JSON file after `change(value)`."""
    value = json.loads(path.read_text(encoding="utf-8"))
    changed = change(value)
    path.write_text(json.dumps(value if changed is None else changed), encoding="utf-8")


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**20), 10**20), st.floats(), st.text(max_size=5), st.just([]), st.just({}),
    st.just(10**400), st.just([[[]]]), st.just({"a": {"b": "c"}}),
)  # fmt: skip
EDITS = st.lists(st.tuples(st.floats(0, 1), VALUES, st.booleans()), min_size=1, max_size=3)  # where, what, taken out


def mutate(value: Any, edits: Sequence[tuple[float, Any, bool]]) -> None:
    """Replace values at any depth of a JSON value, or take them out."""
    for where, put, removed in edits:
        if there := nodes(value):
            container, key = there[int(where * (len(there) - 1))]
            if removed:
                del container[key]
            else:
                container[key] = copy.deepcopy(put)


def nodes(value: Any) -> list[tuple[Any, Any]]:
    """(container, key) of every value in a JSON value."""
    found: list[tuple[Any, Any]] = []
    pairs = (
        list(value.items()) if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else []
    )
    for key, inner in pairs:
        found += [(value, key), *nodes(inner)]
    return found
