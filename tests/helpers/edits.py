"""Random edits of gold trajectories: what models get wrong, for parity tests. Deterministic by the generator given."""

from __future__ import annotations

import random
import re

from envtune.tasks import Task

Turns = list[list[list[str]]]
_STRING = re.compile(r"'[^']*'")
_NUMBER = re.compile(r"(?<![\w'.])-?\d+(?:\.\d+)?")
_BROKEN = ("cd(folder='document'", "unknown_tool(x=1)", "ls(", "cd folder", "", "pwd(1, 2, 3)", "ls(nothing=1)", "1 +")


def gold_turns_of(task: Task) -> Turns:
    """The ground truth, every call a step of its own."""
    return [[[call] for call in turn] for turn in task.ground_truth]


def edit(task: Task, rng: random.Random) -> Turns:
    """The ground truth with one to three random edits."""
    turns = gold_turns_of(task)
    for _ in range(rng.randint(1, 3)):
        rng.choice(_EDITS)(task, turns, rng)
    return turns


def _some_turn(turns: Turns, rng: random.Random) -> list[list[str]]:
    return rng.choice([turn for turn in turns if turn] or turns)


def _drop(task: Task, turns: Turns, rng: random.Random) -> None:
    turn = _some_turn(turns, rng)
    if turn:
        turn.pop(rng.randrange(len(turn)))


def _add(task: Task, turns: Turns, rng: random.Random) -> None:
    calls = [call for turn in task.ground_truth for call in turn] or ["ls()"]
    turn = rng.choice(turns)
    turn.insert(rng.randint(0, len(turn)), [rng.choice(calls)])


def _read_only(task: Task, turns: Turns, rng: random.Random) -> None:
    tool = rng.choice(task.tools)["name"]
    rng.choice(turns).append([f"{tool}()"])


def _swap(task: Task, turns: Turns, rng: random.Random) -> None:
    turn = _some_turn(turns, rng)
    rng.shuffle(turn)


def _repeat(task: Task, turns: Turns, rng: random.Random) -> None:
    turn = _some_turn(turns, rng)
    if turn:
        turn.append(list(rng.choice(turn)))


def _break(task: Task, turns: Turns, rng: random.Random) -> None:
    turn = rng.choice(turns)
    turn.insert(rng.randint(0, len(turn)), [rng.choice(_BROKEN)])


def _argument(task: Task, turns: Turns, rng: random.Random) -> None:
    turn = _some_turn(turns, rng)
    if turn:
        step = rng.choice(turn)
        if step:
            call = step[0]
            call = _STRING.sub(rng.choice(["'other'", "'a (b) c'", "'don(t'", "'sort (x)'", "'../x'"]), call, count=1)
            step[0] = _NUMBER.sub(rng.choice(["7", "-1", "3.5", "'7'", "None"]), call, count=1)


def _empty(task: Task, turns: Turns, rng: random.Random) -> None:
    turns[rng.randrange(len(turns))] = rng.choice([[], [[]], [[], []]])


def _merge(task: Task, turns: Turns, rng: random.Random) -> None:
    index = rng.randrange(len(turns))
    turns[index] = [[call for step in turns[index] for call in step]]


def _move(task: Task, turns: Turns, rng: random.Random) -> None:
    """Calls of one turn made in an earlier or later one (also in the impossible turn)."""
    source, target = _some_turn(turns, rng), rng.choice(turns)
    target.extend(source[:])
    if source is not target:
        source.clear()


def _length(task: Task, turns: Turns, rng: random.Random) -> None:
    if rng.random() < 0.5 and len(turns) > 1:
        turns.pop()
    else:
        turns.append([])


_EDITS = (_drop, _add, _read_only, _swap, _repeat, _break, _argument, _empty, _merge, _move, _length)
