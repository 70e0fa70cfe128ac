"""When a stage ends: accuracy has stopped rising and the gradient norm is stable (paper, section 3.1), or a collapse.

`decide` depends on nothing but settings and history, so the trainer, which asks after each step, and the driver, which
asks when verl has ended, agree. It answers for the first step at which a rule holds; later steps change nothing. Steps
come in any order (0: before training); of one that comes twice each later value counts. Any value may be missing.

Stopped rising   the best average over `window` validations is less than `min_rise` above what it was `patience` steps
                 ago, or `window` validations ago if that is longer: with fewer new ones it could not have risen.
Stable           the middle four fifths of the last `window` gradient norms (before clipping) lie within
                 `grad_norm_spread` times their median: single spikes are usual and do not count.
Collapse         see `Collapse`; nothing converges at a step with a bad signal. Its onset is the first of the steps in
                 a row with the signal over a quarter of the way from normal (0, median, best average) to its limit.

The defaults are for 100 validation tasks a step. Of simulated stages of the paper's shapes (0.085 to 0.17 up in
40 to 80 steps, then level) 0.1 % at most are ended before 90 % of the rise; half are within 66 steps of its end, nine
in ten within 93. Of those that rise by 0.12 over 160 steps in a line, 14 % are ended too early.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from statistics import fmean, median, quantiles
from types import MappingProxyType
from typing import Any

from envtune.errors import EnvtuneError

ACCURACY = re.compile(r"val-core/(.*)/acc/mean@\d+")  # val-core/<data_source>/acc/mean@<samples>, one a data source
_LEAST = MappingProxyType({"window": 2, "patience": 1, "min_steps": 0, "steps": 1})
_RANGE = MappingProxyType(  # above this, at most that
    dict.fromkeys(("grad_norm_spread", "grad_norm", "kl"), (0, 1e6))
    | dict.fromkeys(("min_rise", "format_drop", "accuracy_drop"), (0, 1))
    | {"grad_norm_ratio": (1, 1e6)}
)
_TELLING = 0.1  # best average accuracy from which on 100 tasks tell half of it from chance
_ONSET = 0.25  # of the way to its limit
_NOTHING = (0, 0.0, -math.inf, None)  # of a measure: step, value, best average so far and its step


@dataclass(frozen=True)
class Collapse:
    """When a run has gone wrong: one signal is bad `steps` times in a row, of those it is reported. None: not watched.

    Bad is: grad_norm: a gradient norm above it; grad_norm_ratio: one above it times the median of all before, once
    there are `window`; kl: mean KL to the stage's start (low_var_kl) above it; format_drop: a share of well-formed
    replies more than it below the best average; accuracy_drop: this share of the best average accuracy lost (as in the
    paper's single stage; a lasting ruin would else pass for converged). What is not finite is above any limit.
    """

    grad_norm: float | None = 100.0
    grad_norm_ratio: float | None = 10.0
    kl: float | None = 1.0
    format_drop: float | None = 0.25
    accuracy_drop: float | None = 0.5
    steps: int = 5


@dataclass(frozen=True)
class Gate:
    """rule: "plateau", or "epochs": the trainer's, while collapse is watched for; window: validations (of the gradient
    norm: steps); patience: steps; min_rise: accuracy, 0 to 1; grad_norm_spread: of the median; min_steps: the first
    step at which a stage may converge (the paper's shortest has 60)."""

    rule: str = "plateau"
    window: int = 20
    patience: int = 50
    min_rise: float = 0.01
    grad_norm_spread: float = 1.0
    min_steps: int = 60
    collapse: Collapse = field(default_factory=Collapse)
    as_dict = asdict  # as `read_gate` takes it


@dataclass(frozen=True)
class Point:
    """What a step reported. None: not reported; nan: not finite (gradient norm and KL only)."""

    step: int
    accuracy: float | None = None
    grad_norm: float | None = None
    kl: float | None = None
    format_rate: float | None = None


@dataclass(frozen=True)
class Decision:
    """outcome: "go on", "converged" or "collapsed"; step: at which it was taken; reason: a clause with the numbers;
    onset: a collapse's first bad step; while going on, the step from which a signal has been on its way to its limit, None
    when none is. best_step: the middle of the window with the best average accuracy up to `step`,
    None before there is one: the best of single validations is mostly luck, and a window's end is half of it late."""

    outcome: str
    step: int
    reason: str
    onset: int | None = None
    best_step: int | None = None
    as_dict = asdict  # JSON-able


def read_gate(settings: Mapping[str, Any]) -> Gate:
    """The gate of a profile's `gate:`; what it leaves out is the default. Raises EnvtuneError."""
    return _read(Gate, settings, "gate")


def _read(kind: type, settings: Any, where: str) -> Any:
    values, known = {}, [entry.name for entry in fields(kind)]
    if not isinstance(settings, Mapping):
        raise EnvtuneError(f"{where} must be a mapping with some of {', '.join(known)}, not {settings!r}")
    for key, value in settings.items():
        if key not in known:
            raise EnvtuneError(f"{where} has no setting {key!r}; it takes {', '.join(known)}")
        values[key] = _read(Collapse, value, f"{where}.{key}") if key == "collapse" else value
        right, wanted = key == "collapse" or value in ("plateau", "epochs"), "plateau or epochs"
        if key in _LEAST:
            right, wanted = type(value) is int and value >= _LEAST[key], f"a whole number from {_LEAST[key]} on"
        elif key in _RANGE:
            (above, most), off = _RANGE[key], kind is Collapse
            right = (off and value is None) or (type(value) in (int, float) and above < value <= most)
            wanted = f"a number above {above:g} and at most {most:g}{', or null' if off else ''}"
        if not right:
            raise EnvtuneError(f"{where}.{key} must be {wanted}, not {value!r}")
    return kind(**values)


def point(step: int, data: Mapping[str, Any]) -> Point:
    """What verl reported of a step. Accuracy is the mean over the categories, each counting the same."""
    accuracies = [_number(value) for key, value in data.items() if ACCURACY.fullmatch(key)]
    keys = ("actor/grad_norm", "actor/kl_loss", "episode/format_rate")
    norm, kl, format_rate = (_number(data[key]) if key in data else None for key in keys)
    return Point(step, _finite(fmean(accuracies)) if accuracies else None, norm, kl, _finite(format_rate))


def _number(value: Any) -> float:
    """A metric as the driver reads it: verl's file says null for what is not finite, and 0.1 for a float32 of 0.1."""
    number = math.nan if value is None else float(str(value))
    return number if math.isfinite(number) else math.nan


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def curve(points: Sequence[Point]) -> list[dict[str, Any]]:
    """The steps in order, each with what it reported; null: not finite."""
    return [{k: _finite(v) for k, v in vars(now).items() if v is not None} for now in _in_order(points)]


def _in_order(points: Sequence[Point]) -> list[Point]:
    steps: dict[int, dict[str, Any]] = {}
    for given in points:
        steps.setdefault(given.step, {}).update({k: v for k, v in vars(given).items() if v is not None})
    return [Point(**steps[step]) for step in sorted(steps)]


def decide(gate: Gate, points: Sequence[Point]) -> Decision:
    """The first decision that the rules come to on this history, else "go on" at its last step."""
    accuracy, formats, norms = [_NOTHING], [_NOTHING], []
    streaks: dict[str, tuple[int | None, int, str]] = {}  # signal: where its way began, bad steps in a row, numbers
    now, reason = Point(0), "nothing has been reported"
    for now in _in_order(points):
        for name, way, numbers in _signals(gate, now, norms, formats[-1][2], accuracy[-1][2]):
            since, count, _ = streaks.get(name, (None, 0, ""))
            since = None if way <= _ONSET else now.step if since is None else since
            streaks[name] = since, count + 1 if way > 1 else 0, numbers
        _extend(accuracy, now.step, now.accuracy, gate.window)
        _extend(formats, now.step, now.format_rate, gate.window)
        norms += [] if now.grad_norm is None else [now.grad_norm if math.isfinite(now.grad_norm) else math.inf]
        best, bad = accuracy[-1][3], [streak for streak in streaks.values() if streak[1]]
        if over := [streak for streak in bad if streak[1] >= gate.collapse.steps]:
            onset, numbers = min(since for since, *_ in over if since is not None), " and ".join(row[2] for row in over)
            reason = f"{numbers} for {gate.collapse.steps} steps in a row, which began at step {onset}"
            return Decision("collapsed", now.step, reason, onset, best)
        converged, reason = _plateau(gate, now, norms, accuracy)
        if converged and not bad:
            return Decision("converged", now.step, reason, None, best)
        reason = f"it may be collapsing: {' and '.join(row[2] for row in bad)}" if bad else reason
    on_the_way = [since for since, *_ in streaks.values() if since is not None]
    return Decision("go on", now.step, reason, min(on_the_way, default=None), accuracy[-1][3])


def _extend(trail: list[Any], step: int, value: float | None, window: int) -> None:
    if _finite(value) is not None:
        trail.append((step, value, *trail[-1][2:]))
        if len(trail) > window and (average := fmean(row[1] for row in trail[-window:])) > trail[-1][2]:
            trail[-1] = step, value, average, trail[-(window // 2) - 1][0]


def _signals(gate: Gate, now: Point, norms: list[float], *best: float) -> Iterator[tuple[str, float, str]]:
    """Each signal that is watched and reported: name, its way from normal (0) to its limit (1), numbers."""
    limits, usual_norm = gate.collapse, median(norms) if len(norms) >= gate.window else math.nan
    replies, accuracy = best[0], best[1] if best[1] >= _TELLING else math.nan
    for name, value, normal, limit in (  # without a limit it is made equal to normal, and the signal is passed over
        ("gradient norm", now.grad_norm, 0.0, limits.grad_norm or 0.0),
        ("gradient norm against its median", now.grad_norm, usual_norm, usual_norm * (limits.grad_norm_ratio or 1.0)),
        ("KL", now.kl, 0.0, limits.kl or 0.0),
        ("share of well-formed replies", _finite(now.format_rate), replies, replies - (limits.format_drop or 0.0)),
        ("validation accuracy", _finite(now.accuracy), accuracy, accuracy * (1 - (limits.accuracy_drop or 0.0))),
    ):
        if value is not None and math.isfinite(normal) and limit != normal:
            way = (value - normal) / (limit - normal) if math.isfinite(value) else math.inf
            yield name, way, f"{name} {value:.3g} (normal {normal:.3g}, limit {limit:.3g})"


def _plateau(gate: Gate, now: Point, norms: list[float], accuracy: list[Any]) -> tuple[bool, str]:
    """Whether the stage has converged at this step, and why or why not."""
    if gate.rule == "epochs":
        return False, "nothing has gone wrong, and the stage ends with its epochs"
    earlier = (row for row in reversed(accuracy[: -gate.window]) if row[0] <= now.step - gate.patience)
    then, _, before, best_before = next(earlier, _NOTHING)
    if best_before is None or len(norms) < gate.window or not accuracy[-1][0] == now.step >= gate.min_steps:
        return False, f"too early to tell: {len(accuracy) - 1} validations, the last at step {accuracy[-1][0]}"
    best, recent = accuracy[-1][2], norms[-gate.window :]
    rise = f"the best average of {gate.window} validations is {best:.3f} and was {before:.3f} at step {then}"
    if best - before >= gate.min_rise:
        return False, f"accuracy still rises ({rise})"
    tenths, middle = quantiles(recent, n=10, method="inclusive"), median(recent)
    spread = (tenths[-1] - tenths[0]) / middle if middle > 0 else math.inf  # nan, not stable, where they are infinite
    norm = "stable" if spread <= gate.grad_norm_spread else "not stable"
    return norm == "stable", f"accuracy has stopped rising ({rise}), gradient norm {norm} (spread {spread:.2g} medians)"
