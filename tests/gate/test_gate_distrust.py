"""A gate that reads nonsense passes it: what is cut, edited or made up is refused, with one sentence and no traceback."""

from __future__ import annotations

import gzip
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from made_sides import EDITS, SUITE, edit, make_side, mutate, refused, regress, verdicts

from envtune.files import sha256_json

RESULTS = Path(__file__).parents[2] / "results" / "cpu" / "records" / "bfcl-v3"
STEM = "stage4.seed42"
STRATA = {"airline": verdicts(2, 5), "retail": verdicts(1, 3)}


@pytest.fixture
def baseline(tmp_path: Path) -> Path:
    return make_side(tmp_path / "before", STRATA)


@pytest.fixture
def candidate(tmp_path: Path) -> Path:
    return make_side(tmp_path / "after", STRATA)


def rows(folder: Path, change: Callable[[list[Any]], Any]) -> Path:
    """Edit the records of the folder's one repeat; gives their path."""
    path = folder / SUITE / f"{STEM}.jsonl.gz"
    listed = [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
    change(listed)
    path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in listed).encode()))
    return path


def set_in(number: int, **values: Any) -> Callable[[list[Any]], None]:
    return lambda listed: listed[number].update(values)


def rehash(folder: Path) -> None:
    """What a careful forger would do too."""
    path = folder / SUITE / f"{STEM}.jsonl.gz"
    listed = [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
    digest = sha256_json([[row["id"], row["item_sha256"]] for row in listed])
    edit(folder / SUITE / f"{STEM}.json", lambda data: data["identity"].update(items_sha256=digest))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (set_in(0, outcome="failed"), "passed True"),
        (set_in(0, passed=False), "outcome 'passed'"),
        (set_in(0, passed=1), "passed 1"),
        (set_in(0, outcome="failed", passed=False), "'airline', passed, failed"),
        (set_in(0, outcome="not_run", passed=None), "not run"),
        (set_in(0, outcome="won"), "unknown outcome"),
        (set_in(0, more=1), "more"),
        (lambda listed: listed[0].pop("cluster"), "cluster"),
        (set_in(0, id=7), "id must be"),
        (set_in(0, id="\ud800"), "no Unicode"),
        (set_in(0, id="airline_1"), "second record"),
        (set_in(0, id="airline_99"), "its items are not those"),
        (set_in(0, item_sha256="0"), "its items are not those"),
        (set_in(0, stratum="retail"), "identity speaks of other items"),
        (set_in(0, score=float("nan")), "score must be a number from 0 up"),
        (set_in(0, score=7.0), "a score of 7.0"),
        (set_in(0, seconds=float("inf")), "seconds must be a number from 0 up"),
        (set_in(0, seconds=-1), "seconds"),
        (set_in(0, requests=1.5), "whole number"),
        (set_in(0, error_message=["x"]), "error_message"),
        (set_in(0, notes=[1]), "notes"),
        (set_in(0, notes="text"), "notes must be a list of strings"),
        (set_in(0, details=[]), "details"),
        (set_in(0, details={"deep": [float("-inf")]}), "not finite"),
        (set_in(0, schema=3), "schema version"),
        (lambda listed: listed.__setitem__(0, [1, 2]), "schema version"),
        (lambda listed: listed.pop(), "identity speaks of other items"),
        (lambda listed: listed.reverse(), "out of order"),
        (lambda listed: listed.clear(), "holds no record"),
    ],
)
def test_edited_records(baseline: Path, candidate: Path, change: Callable[[list[Any]], Any], named: str) -> None:
    path = rows(candidate, change)
    refused(regress("--baseline", baseline, "--candidate", candidate), named, str(path.parent))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda data: [data], "no JSON object"),
        (lambda data: data.update(schema=9), "schema version"),
        (lambda data: data.update(identity=[]), "identity is no object"),
        (lambda data: data.update(about=None), "about is no object"),
        (lambda data: data.update(provenance="here"), "provenance is no object"),
        (lambda data: data["identity"].update(decoding=0.5), "identity.decoding"),
        (lambda data: data["identity"].update(model=None), "identity.model"),
        (lambda data: data["identity"].update(checkpoint_sha256=5), "checkpoint_sha256"),
        (lambda data: data["identity"]["decoding"].update(seed=True), "no whole number"),
        (lambda data: data["identity"]["decoding"].update(seed=43), "another checkpoint or seed"),
        (lambda data: data["about"].update(checkpoint="stage3"), "another checkpoint or seed"),
        (lambda data: data["identity"]["items"].update(airline=6), "identity speaks of other items"),
        (lambda data: data["strata"]["airline"].update(passed=3), "'airline', passed"),
        (lambda data: data["strata"]["airline"].update(passed="2"), "'airline', passed"),
        (lambda data: data["strata"]["airline"].update(accuracy=41), "accuracy"),
        (lambda data: data["strata"]["airline"].update(accuracy=float("nan")), "NaN"),
        (lambda data: data["strata"].update(more={}), "other strata"),
        (lambda data: data.update(average=99.0), "another average"),
        (lambda data: data.update(strata=[]), "'airline'"),
        (lambda data: data.update(complete=False), "not ended"),
        (lambda data: {name: value for name, value in data.items() if name != "strata"}, "not ended"),
    ],
)
def test_edited_summaries(baseline: Path, candidate: Path, change: Callable[[Any], Any], named: str) -> None:
    path = candidate / SUITE / f"{STEM}.json"
    edit(path, change)
    refused(regress("--baseline", baseline, "--candidate", candidate), named, str(path.with_suffix("")))


def test_a_forged_hash_does_not_help(baseline: Path, candidate: Path) -> None:
    rows(candidate, set_in(0, id="airline_99"))
    rehash(candidate)
    refused(regress("--baseline", baseline, "--candidate", candidate), "items_sha256")
    rows(candidate, set_in(0, id="airline_0", cluster="another"))
    rehash(candidate)
    refused(regress("--baseline", baseline, "--candidate", candidate), "other items, strata or clusters")


def test_broken_files(baseline: Path, candidate: Path, tmp_path: Path) -> None:
    path = candidate / SUITE / f"{STEM}.jsonl.gz"
    whole = path.read_bytes()
    noise = bytearray(whole)
    noise[20:60] = random.Random(0).randbytes(40)
    for content in (b"", whole[: len(whole) // 2], whole[:-4], bytes(noise), b"\0\xff" * 500, whole + b"more"):
        path.write_bytes(content)
        refused(regress("--baseline", baseline, "--candidate", candidate), path.name)
    path.unlink()
    refused(regress("--baseline", baseline, "--candidate", candidate), f"{STEM}.jsonl", "no such file")
    empty = tmp_path / "empty"
    empty.mkdir()
    refused(regress("--baseline", baseline, "--candidate", empty), str(empty), "holds no records")
    refused(regress("--baseline", baseline, "--candidate", tmp_path / "nowhere"), "nowhere", "no such folder")
    refused(regress("--baseline", baseline, "--candidate", baseline / SUITE / f"{STEM}.json"), "no file of records")
    lonely = tmp_path / "lonely.jsonl"
    lonely.write_bytes(gzip.decompress(whole))
    refused(regress("--baseline", baseline, "--candidate", lonely), "lonely.json")
    summary = candidate / SUITE / f"{STEM}.json"
    path.write_bytes(whole)
    for content in (b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"a":' * 500 + b"1" + b"}" * 500, b"1" * 10_000):
        summary.write_bytes(content)
        refused(regress("--baseline", baseline, "--candidate", candidate), summary.name)


def test_a_seed_that_is_there_twice(baseline: Path, tmp_path: Path) -> None:
    both = tmp_path / "both"
    for place in (both, both / "records"):
        shutil.copytree(baseline / SUITE, place / SUITE)
    refused(regress("--baseline", baseline, "--candidate", both), "seed 42", "twice")


def test_names_from_files_do_not_reach_the_terminal_raw(tmp_path: Path) -> None:
    strange = {"[red]air|line\x1b[31m\n": verdicts(20, 30)}
    before = make_side(tmp_path / "before", strange, model="m\r\x1b]0;title\x07 `x` | <b>")
    worse = make_side(tmp_path / "after", {name: verdicts(0, 30) for name in strange}, model="ü")
    summary = tmp_path / "summary.md"
    done = regress("--baseline", before, "--candidate", worse, "--summary", summary)
    assert done.exit_code == 1 and "[red]air|line" in done.stdout
    for text in (done.stdout, summary.read_text()):
        assert not set(text) & {"\x1b", "\x07", "\r"}
    (row,) = [line for line in summary.read_text().splitlines() if line.startswith("| \\[red")]
    assert row.replace("\\|", "").count("|") == 11, "a name opens no column"


# ---- mutations of real records: 0, 1 or 2, never anything else


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mutated")


def copied(place: Path) -> tuple[Path, Path]:
    """A fresh copy of a real repeat: its folder, and the stem of its files."""
    folder = place / "records" / "bfcl-v3"
    shutil.rmtree(place / "records", ignore_errors=True)
    folder.mkdir(parents=True)
    for suffix in (".json", ".jsonl.gz"):
        shutil.copy(RESULTS / f"{STEM}{suffix}", folder)
    return folder, folder / STEM


def judged(folder: Path) -> None:
    """Any exception fails in `regress`."""
    done = regress("--baseline", RESULTS / f"{STEM}.jsonl.gz", "--candidate", folder)
    assert done.exit_code in (0, 1, 2)
    if done.exit_code == 2:
        refused(done)


MUTATING = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@MUTATING
@given(
    packed=st.booleans(), cuts=st.lists(st.tuples(st.floats(0, 1), st.binary(max_size=4), st.booleans()), max_size=4)
)
@example(packed=True, cuts=[(0.5, b"", True)])
def test_mutated_bytes(place: Path, packed: bool, cuts: list[tuple[float, bytes, bool]]) -> None:
    """Bytes put in, written over, or everything after them cut off: of the summary, or of the compressed records."""
    folder, stem = copied(place)
    path = stem.with_name(f"{STEM}.jsonl.gz" if packed else f"{STEM}.json")
    content = path.read_bytes()
    for where, put, rest in cuts:
        at = int(where * len(content))
        content = content[:at] + put + (b"" if not put else content[at + (len(put) if rest else 0) :])
    path.write_bytes(content)
    judged(folder)


@MUTATING
@given(packed=st.booleans(), edits=EDITS)
def test_mutated_values(place: Path, packed: bool, edits: list[tuple[float, Any, bool]]) -> None:
    """Any value at any depth of the summary or of the records replaced by another one, or taken out."""
    folder, stem = copied(place)
    summary, records = stem.with_name(f"{STEM}.json"), stem.with_name(f"{STEM}.jsonl.gz")
    if packed:
        value: Any = [json.loads(line) for line in gzip.decompress(records.read_bytes()).splitlines()]
    else:
        value = json.loads(summary.read_text())
    mutate(value, edits)
    if packed:
        records.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in value).encode()))
    else:
        summary.write_text(json.dumps(value))
    judged(folder)
