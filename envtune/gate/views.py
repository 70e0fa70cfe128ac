"""Each kind of report as `envtune.gate.show` lays it out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from envtune.gate.show import Shown

if TYPE_CHECKING:
    from envtune.gate.compare import Changed, Line, Origin, Report
    from envtune.gate.paper import PaperReport
    from envtune.gate.training import Judged, TrainingReport
    from envtune.statistics.intervals import Interval

_RECORDS = (
    "Stratum", "Items", "Baseline %", "Candidate %", "Difference, points", "Losses", "Gains", "p", "Adjusted p", "Verdict",
)  # fmt: skip
_PAPER = ("Cell", "Paper %", "Ours %", "Interval %", "Items", "Seeds", "Verdict")
TELLING = 0.2  # of the baseline's rate; a drop that a gate should find
_TRAINING = ("Metric", "Candidate", "Bound", "Reference mean", "sd", "Runs", "Verdict")


def of_records(report: Report) -> Shown:
    """Two sets of records."""
    origins = (("Baseline", report.baseline), ("Candidate", report.candidate))
    return Shown(
        kind="records",
        regressed=report.regressed,
        sentence=_records_sentence(report),
        head=_RECORDS,
        rows=[_line(line) for line in report.lines],
        marked=frozenset(number for number, line in enumerate(report.lines) if line.regressed),
        above=[f"{role}: {origin_line(origin)}" for role, origin in origins],
        below=_records_notes(report),
        items_title=f"{len(report.lost)} items lost",
        items=[_item(item) for item in report.lost],
        value=asdict(report),
    )


def of_paper(report: PaperReport) -> Shown:
    """One set of records against the paper's values."""
    lower = [cell for cell in report.cells if cell.is_lower]
    told = "; ".join(f"{cell.label} {_percent(cell.interval)} (paper {cell.paper:.2f})" for cell in lower)
    found = ", ".join(f"{count} {name}" for name, count in report.counts.items())
    return Shown(
        kind="paper",
        regressed=bool(lower),
        sentence=f"Lower than the paper: {told}." if lower else f"No cell is lower than the paper: {found}.",
        head=_PAPER,
        rows=[
            [
                cell.label, f"{cell.paper:.2f}", "" if cell.interval is None else f"{100 * cell.interval.estimate:.2f}",
                _range(cell.interval), str(cell.items), str(cell.seeds),
                cell.verdict + (f" ({cell.why_not})" if cell.why_not else ""),
            ]
            for cell in report.cells
        ],
        marked=frozenset(number for number, cell in enumerate(report.cells) if cell.is_lower),
        above=[f"Candidate: {origin_line(report.candidate)}", f"Paper: {report.row}"],
        below=[
            f"Consistent: the paper's value lies in our interval, and the interval is narrower than {report.margin:g} points; "
            "inconsistent: it lies outside; inconclusive: inside an interval that is wider."
        ],
        value=asdict(report),
    )  # fmt: skip


def of_training(report: TrainingReport) -> Shown:
    """A training run against reference runs."""
    worse = [one for one in report.metrics if one.regressed]
    if report.status == "collapsed":
        sentence = "Regression: the run collapsed, and the reference runs did not."
    elif worse:
        told = "; ".join(f"{one.label} is {_reached(one)}, bound {one.bound:.4g}" for one in worse)
        sentence = f"Regression at level {report.level:g}: {told}."
    else:
        sentence = (
            f"No regression at level {report.level:g}: all {len(report.metrics)} metrics are within their bounds."
        )
    blind = [one for one in report.metrics if not one.could_regress]
    if blind and not report.regressed:
        sentence += f" Of {len(blind)} of them no value could fail; add reference runs."
    told = report.candidate
    return Shown(
        kind="training",
        regressed=report.regressed,
        sentence=sentence,
        head=_TRAINING,
        rows=[
            [
                one.label, _reached(one), f"{'at most' if one.lower_is_better else 'at least'} {one.bound:.4g}",
                f"{one.mean:.4g}", f"{one.sd:.2g}", str(one.runs), _judgement(one),
            ]
            for one in report.metrics
        ],
        marked=frozenset(number for number, one in enumerate(report.metrics) if one.regressed),
        above=[f"Candidate: run {told['run']}, seed {told['seed']}, commit {_commit(told['commit'])}, {told['date']}"],
        below=[
            *(
                f"{one.label}: no value of this metric could fail (bound {one.bound:.4g}); add reference runs."
                for one in blind
            ),
            f"Bounds: one-sided prediction bounds of Student's t at level {report.level:g} over all metrics (Bonferroni).",
            *(
                f"Reference: run {one['run']}, seed {one['seed']}, commit {_commit(one['commit'])}, {one['date']}"
                for one in report.references
            ),
        ],
        value=asdict(report),
    )  # fmt: skip


def of_speed(slow: Sequence[str], baseline: Path, candidate: Path, limit: str, other_machine: bool) -> Shown:
    """Two files of benchmarks."""
    note = "The two files are of different processors: what is slower may be the machine." if other_machine else ""
    return Shown(
        kind="speed",
        regressed=bool(slow),
        sentence=f"Regression: {len(slow)} benchmarks are slower by more than {limit}."
        if slow
        else f"Nothing is slower by more than {limit}.",
        head=("Benchmark that is slower",),
        rows=[[one] for one in slow],
        marked=frozenset(range(len(slow))),
        above=[f"Baseline: {baseline}", f"Candidate: {candidate}"],
        below=[note] if note else [],
        value={
            "limit": limit,
            "slower": list(slow),
            "other_machine": other_machine,
            "baseline": baseline,
            "candidate": candidate,
        },
    )


def origin_line(origin: Origin) -> str:
    """Where a side's numbers come from, in one line."""
    chosen = f"{origin.checkpoint} (the last there is)" if origin.by_default else origin.checkpoint
    seeds = "; ".join(f"{suite} {', '.join(map(str, listed))}" for suite, listed in origin.seeds.items())
    weights = f"weights {origin.weights[:16]}" if origin.weights else "weights not known"
    commits = ", ".join(_commit(commit) for commit in origin.commits) or "not known"
    return (
        f"{origin.source}, checkpoint {chosen}, model {origin.model}, {weights}, seeds: {seeds}, commit {commits}, "
        f"measured {' to '.join(origin.dates) or 'at a time not known'}"
    )


def _records_sentence(report: Report) -> str:
    """Whether the candidate is worse, where, by how much, and with what probability."""
    pooled = report.lines[0].comparison
    if not report.regressed and not report.could_regress:
        return (
            f"No regression at level {report.level:g}, and none could be shown: {pooled.items} items in {pooled.clusters} "
            "clusters with so few passes would not tell a candidate that passes nothing."
        )
    if not report.regressed:
        points = 100 * pooled.difference.estimate
        return f"No regression at level {report.level:g}: {points:+.2f} points over {pooled.items} items (p {_sign(pooled.p)})."
    told = (
        f"{line.comparison.stratum} {100 * line.comparison.difference.estimate:+.2f} points "
        f"(adjusted p {_sign(line.comparison.p_adjusted)})"
        for line in report.lines
        if line.regressed
    )
    return f"Regression at level {report.level:g}: {'; '.join(told)}; {len(report.lost)} items lost."


def _line(line: Line) -> list[str]:
    comparison, difference = line.comparison, line.comparison.difference
    low, middle, high = (100 * value for value in (difference.low, difference.estimate, difference.high))
    return [
        comparison.stratum, str(comparison.items), f"{100 * line.baseline:.2f}", f"{100 * line.candidate:.2f}",
        f"{middle:+.2f} [{low:+.2f}, {high:+.2f}]", f"{comparison.losses:g}", f"{comparison.gains:g}",
        _p(comparison.p), _p(comparison.p_adjusted), "regression" if line.regressed else "no regression",
    ]  # fmt: skip


def _records_notes(report: Report) -> list[str]:
    """What stands below the table: the suites' averages, and by which method each number came."""
    averages = (
        f"{one.suite}, mean of its strata: baseline {_percent(one.baseline)}, candidate {_percent(one.candidate)} "
        f"({one.baseline.method})"
        for one in report.averages
    )
    alone = "only the candidate has it: new, and not compared"
    tests = dict.fromkeys(line.comparison.method for line in report.lines)
    intervals = dict.fromkeys(line.comparison.difference.method for line in report.lines)
    level = report.lines[0].comparison.difference.level
    return [
        *(f"{suite}: {alone}." for suite in report.new),
        *(f"{suite}: the same records on both sides; they say nothing of the candidate." for suite in report.same),
        _power_note(report),
        *averages,
        f"Tests: {'; '.join(tests)}. Intervals of the differences, {100 * level:g} %: {'; '.join(intervals)}.",
    ]


def _power_note(report: Report) -> str:
    """What this comparison could have shown."""
    pooled, rate, power = report.lines[0].comparison, report.lines[0].baseline, 100 * report.power
    if report.detectable is None:
        found = f"No drop over all {pooled.items} items would be called a regression with {power:g} % probability"
    else:
        found = (
            f"A drop of about {100 * report.detectable:.1f} points over all {pooled.items} items (baseline {100 * rate:.1f} %) "
            f"would be called a regression with {power:g} % probability"
        )
    if report.detectable is None or report.detectable > TELLING * rate:
        found += f"; to find one of {100 * TELLING:g} % of the baseline's rate, evaluate more seeds on each side"
    return f"{found} (approximately, by the noise of these pairs)."


def _item(item: Changed) -> str:
    return f"{item.id} ({item.stratum}): passed {100 * item.baseline:.0f} % of the baseline's seeds, {100 * item.candidate:.0f} % now"


def _percent(interval: Interval | None) -> str:
    return "" if interval is None else f"{100 * interval.estimate:.2f} % {_range(interval)}"


def _range(interval: Interval | None) -> str:
    return "" if interval is None else f"[{100 * interval.low:.2f}, {100 * interval.high:.2f}]"


def _p(value: float) -> str:
    return "<0.0001" if value < 1e-4 else f"{value:.4f}"


def _sign(p: float) -> str:
    return "< 0.0001" if p < 1e-4 else f"= {p:.4f}"


def _judgement(one: Judged) -> str:
    if one.regressed:
        return "regression"
    return "no regression" if one.could_regress else "could not fail"


def _reached(one: Judged) -> str:
    return "never reached" if one.value is None else f"{one.value:.4g}"


def _commit(commit: object) -> str:
    text = str(commit or "not known")
    return text[:12] + ("+" if text.endswith("+") and len(text) > 12 else "") if commit else text
