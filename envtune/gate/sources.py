"""RECORDS on the command line: which repeats are there, which are meant, and whether two sides can be compared.

results/<profile>, results/<profile>/records, or one suite's folder in it     what is committed
runs/<profile>, runs/<profile>/evaluation, or a folder in it                  what a run left
the --out folder of `envtune evaluate --suite`                                any other model
x.jsonl, x.jsonl.gz                                                           one repeat, its summary beside it
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from envtune.evaluation.records import Record, differences
from envtune.evaluation.repeat import Repeat, Summary, read_repeat, read_summary
from envtune.files import sha256_json
from envtune.gate.errors import Incomparable

_COPIES = ("*.seed*.json", "*/*.seed*.json", "records/*/*.seed*.json")
_RUNS = ("summary.json", "seed*/summary.json", "*/seed*/summary.json", "*/*/seed*/summary.json")
_RUNS += ("*/summary.json", "evaluation/*/*/seed*/summary.json", "evaluation/*/summary.json")
_STAGE = re.compile(r"stage(\d+)")
_FIRST = 5  # names in a message


@dataclass(frozen=True)
class Side:
    """One side of a comparison. role: "baseline" or "candidate"; source: as named by the user; by_default: whether the
    checkpoint was not named but taken as the last; suites: suite -> its repeats, seeds ascending."""

    role: str
    source: Path
    checkpoint: str
    by_default: bool
    suites: Mapping[str, Sequence[Repeat]]

    @property
    def repeats(self) -> list[Repeat]:
        """Of all suites."""
        return [repeat for repeats in self.suites.values() for repeat in repeats]

    @property
    def identity(self) -> Mapping[str, Any]:
        """Of its first repeat: model and weights are those of all."""
        return self.repeats[0].summary.identity


def read_side(role: str, source: Path, checkpoint: str | None = None, suites: Sequence[str] = ()) -> Side:
    """The repeats at `source` of one checkpoint (None: the last stage; where there is none, the only checkpoint).

    suites: only these, and each of them; empty for all. Raises Incomparable when there is nothing to compare, or what is
    there is not whole, contradicts itself, or mixes models.
    """
    found = [read_summary(*paths) for paths in _files(source)]
    if suites:
        found = [one for one in found if one.suite in suites]
    if not found:
        wanted = f" of {_listed(suites)}" if suites else ""
        raise Incomparable(
            f"{source} holds no records{wanted}; name a folder results/<profile>/records or a run's evaluation"
        )
    chosen = _last(source, found, role) if checkpoint is None else checkpoint
    of_it = [one for one in found if one.checkpoint == chosen]
    if not of_it:
        there = _listed(sorted({one.checkpoint for one in found}))
        raise Incomparable(
            f"{source} holds no checkpoint {chosen!r}; it has {there}: name one with --{role}-checkpoint"
        )
    if missing := [suite for suite in suites if suite not in {one.suite for one in of_it}]:
        raise Incomparable(
            f"{source} holds no records of {_listed(missing)} for {chosen}; evaluate it or leave it out of --suite"
        )
    by_suite: dict[str, list[Repeat]] = {}
    for one in sorted(of_it, key=lambda one: (one.suite, one.seed)):
        by_suite.setdefault(one.suite, []).append(read_repeat(one))
    side = Side(role, source, chosen, checkpoint is None, {suite: tuple(listed) for suite, listed in by_suite.items()})
    _check_one_model(side)
    for listed in side.suites.values():
        _check_repeats(listed)
    return side


def check_comparable(baseline: Side, candidate: Side) -> None:
    """Raises Incomparable, with the names of what differs, unless both sides measured the same thing in the same way, and
    each for itself.

    Model, weights and seed may differ, and the number of seeds: everything else in the identity decides what a record
    means. The candidate may have more suites. Of checkpoints that nobody named, only the same ones are compared: a
    baseline's stage4 says nothing of a run that has got to stage3.
    """
    if baseline.by_default and candidate.by_default and baseline.checkpoint != candidate.checkpoint:
        raise Incomparable(
            f"the last checkpoint of {baseline.source} is {baseline.checkpoint}, that of {candidate.source} is "
            f"{candidate.checkpoint}; name one with --checkpoint, or both with --baseline-checkpoint and "
            "--candidate-checkpoint"
        )
    if alone := [suite for suite in baseline.suites if suite not in candidate.suites]:
        raise Incomparable(
            f"{baseline.source} has records of {_listed(alone)} and {candidate.source} has none of its "
            f"{candidate.checkpoint}; evaluate both, or choose with --suite"
        )
    for suite, repeats in baseline.suites.items():
        _check_same(repeats[0], candidate.suites[suite][0])
    if all(is_same(repeats, candidate.suites[suite]) for suite, repeats in baseline.suites.items()):
        raise Incomparable(
            f"baseline and candidate are the same records ({baseline.source} and {candidate.source}): nothing was "
            "compared; name those of another run"
        )


def is_same(one: Sequence[Repeat], other: Sequence[Repeat]) -> bool:
    """Whether these repeats are those, copied: the same verdicts, seeds and provenance, the time of the run in it."""
    return _copied(one) == _copied(other)


def _copied(repeats: Sequence[Repeat]) -> list[tuple[int, str, Mapping[str, Any]]]:
    return [
        (one.summary.seed, sha256_json([record.as_dict() for record in one.records]), one.summary.provenance)
        for one in repeats
    ]


def _files(source: Path) -> list[tuple[Path, Path]]:
    """(summary, records) of each repeat. Raises Incomparable."""
    try:
        if source.is_dir():
            return [(path, _records(path)) for path in dict.fromkeys(_summaries(source))]
        if source.is_file():
            return [_of_file(source)]
    except OSError as error:
        raise Incomparable(
            f"{source} cannot be read ({error.strerror}); name another or change its permissions"
        ) from error
    raise Incomparable(f"{source}: there is no such folder or file; check the path")


def _of_file(source: Path) -> tuple[Path, Path]:
    stem = source.name.removesuffix(".gz").removesuffix(".jsonl")
    if stem == source.name:
        raise Incomparable(f"{source} is no file of records (.jsonl or .jsonl.gz); name one, or a folder of them")
    summary = source.with_name("summary.json" if stem == "records" else f"{stem}.json")
    if not summary.is_file():
        raise Incomparable(f"{source} has no summary beside it ({summary.name}); copy it there from the run")
    return summary.absolute(), source


def _summaries(folder: Path) -> Iterator[Path]:
    folder = folder.absolute()
    for pattern in _COPIES:
        yield from sorted(folder.glob(pattern))
    for pattern in _RUNS:
        for path in sorted(folder.glob(pattern)):
            # one of a release that knew bfcl-v3 alone; a newer measurement takes its place
            old = not path.parent.name.startswith("seed")
            if not old or not any(path.parent.glob("bfcl-v3/seed*/summary.json")):
                yield path


def _records(summary: Path) -> Path:
    stem = "records" if summary.name == "summary.json" else summary.name.removesuffix(".json")
    packed, plain = summary.with_name(f"{stem}.jsonl.gz"), summary.with_name(f"{stem}.jsonl")
    return packed if packed.is_file() else plain


def _last(source: Path, found: Sequence[Summary], role: str) -> str:
    names = list(dict.fromkeys(one.checkpoint for one in found))
    stages = [(int(match[1]), name) for name in names if (match := _STAGE.fullmatch(name))]
    if stages:
        return max(stages)[1]
    if len(names) > 1:
        raise Incomparable(f"{source} holds {_listed(names)}; name one with --{role}-checkpoint")
    return names[0]


def _check_one_model(side: Side) -> None:
    """A side is one model: other weights under the same name are of another run."""
    who = {
        (str(repeat.summary.identity["model"]), repeat.summary.identity.get("checkpoint_sha256"))
        for repeat in side.repeats
    }
    if len(who) > 1:
        raise Incomparable(
            f"{side.source} mixes {len(who)} models under the name {side.checkpoint}; remove what was measured of older weights"
        )


def _check_repeats(repeats: Sequence[Repeat]) -> None:
    seeds = [repeat.summary.seed for repeat in repeats]
    if len(set(seeds)) < len(seeds):
        first = next(repeat for repeat in repeats if seeds.count(repeat.summary.seed) > 1)
        raise Incomparable(
            f"{first.summary.path}: seed {first.summary.seed} of {first.summary.suite} is there twice; name the folder of one"
        )
    for other in repeats[1:]:
        _check_same(repeats[0], other)


def _check_same(one: Repeat, other: Repeat) -> None:
    names = differences(_meaning(one.summary), _meaning(other.summary))
    if names:
        raise Incomparable(
            f"{one.summary.path} and {other.summary.path} were not measured in the same way (not the same: "
            f"{_listed(names)}); evaluate both alike"
        )
    if _items(one.records) != _items(other.records):
        raise Incomparable(
            f"{one.summary.records} and {other.summary.records} have other items, strata or clusters; evaluate both alike"
        )


def _meaning(summary: Summary) -> dict[str, Any]:
    """The identity without what may differ."""
    kept = {name: value for name, value in summary.identity.items() if name not in ("model", "checkpoint_sha256")}
    return {**kept, "decoding": {name: value for name, value in kept["decoding"].items() if name != "seed"}}


def _items(records: Sequence[Record]) -> set[tuple[str, str, str, str]]:
    return {(record.id, record.stratum, record.cluster, record.item_sha256) for record in records}


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _FIRST
    return ", ".join(names[:_FIRST]) + (f" and {more} more" if more > 0 else "")
