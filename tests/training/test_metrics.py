"""Metrics of a stage survive a resume: no step lost, none counted twice, whatever moment a run was killed at."""

from __future__ import annotations

import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from envtune.training.metrics import consolidate, last_step, merged, new_attempt, read_attempt


def write_steps(folder: Path, steps: list[tuple[int, dict[str, float]]], cut: int = 0) -> None:
    text = "".join(json.dumps({"step": step, "data": data}) + "\n" for step, data in steps)
    (folder / "verl.jsonl").write_text(text[: len(text) - cut])


def test_a_resumed_stage_has_every_step_once(tmp_path: Path) -> None:
    write_steps(
        new_attempt(tmp_path, 0), [(0, {"val": 0.1}), (1, {"loss": 1.0}), (2, {"loss": 2.0}), (3, {"loss": 3.0})]
    )
    # killed; the newest checkpoint was that of step 2
    write_steps(new_attempt(tmp_path, 2), [(2, {"val": 0.2}), (3, {"loss": 3.5}), (4, {"loss": 4.0})])
    consolidate(tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert rows == [
        {"step": 0, "data": {"val": 0.1}},
        {"step": 1, "data": {"loss": 1.0}},
        {"step": 2, "data": {"loss": 2.0, "val": 0.2}},
        {"step": 3, "data": {"loss": 3.5}},
        {"step": 4, "data": {"loss": 4.0}},
    ]


def test_a_line_cut_by_a_kill_is_left_out(tmp_path: Path) -> None:
    folder = new_attempt(tmp_path, 0)
    write_steps(folder, [(1, {"loss": 1.0}), (2, {"loss": 2.0})], cut=5)
    assert list(read_attempt(folder)) == [(1, {"loss": 1.0})]


def test_an_attempt_killed_before_it_began_changes_nothing(tmp_path: Path) -> None:
    write_steps(new_attempt(tmp_path, 0), [(1, {"loss": 1.0})])
    (tmp_path / "attempts" / "002").mkdir()
    assert list(merged(tmp_path)) == [(1, {"loss": 1.0})]
    assert new_attempt(tmp_path, 1).name == "003"


@given(
    total=st.integers(1, 12),
    save_every=st.integers(1, 4),
    kills=st.lists(st.tuples(st.integers(0, 12), st.booleans(), st.integers(0, 30)), max_size=5),
)
def test_any_kills_give_each_step_once_from_the_last_attempt(
    tmp_path_factory, total: int, save_every: int, kills: list[tuple[int, bool, int]]
) -> None:
    """Play a run of `total` steps that is killed again and again: after some steps, with or without the checkpoint of
    the next one already written (verl saves a step before it reports it), in the middle of a line."""
    folder = tmp_path_factory.mktemp("stage")
    saved: set[int] = set()
    owner: dict[int, int] = {}
    for number, (steps, early, cut) in enumerate([*kills, (total, False, 0)]):
        start = max((step for step in saved if step <= last_step(folder)), default=0)  # as checkpoints.repair has it
        saved = {step for step in saved if step <= start}
        attempt = new_attempt(folder, start)
        end = min(total, start + steps)
        write_steps(attempt, [(step, {"attempt": number}) for step in range(start + 1, end + 1)], cut)
        reached = min(total, end + 1) if early else end
        saved |= {step for step in range(start + 1, reached + 1) if step % save_every == 0 or step == total}
        owner = {step: by for step, by in owner.items() if step <= start}
        owner |= {step: number for step, _ in read_attempt(attempt)}
        assert {step: data["attempt"] for step, data in merged(folder)} == owner
    assert list(owner) == list(range(1, total + 1))
