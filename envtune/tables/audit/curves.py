"""The audit of the ablation curves, where two of them, or a curve and a table, speak of the same thing.

The method's own curve is drawn in two figures: as "with augmentation" and as "progress" (reward). Its points at the same
panel, stage and step must be equal. A curve's last point and a table are no such pair: the curves end with stage 2 or 3 and
are of the validation tasks, the tables are of the model after stage 4 on the held-out ones.
"""

from __future__ import annotations

from collections.abc import Sequence

from envtune.tables.audit.findings import Finding, Note
from envtune.tables.paper import AS_RELEASED, CurvePoint, PaperRow

READ_OFF = 0.01  # how far a point that was read off by eye may be from the true one
_METHOD = (("augmentation", "with augmentation"), ("reward", "progress"))
_SLACK = 2 * READ_OFF + 1e-9


def _method_pairs(points: Sequence[CurvePoint]) -> list[tuple[CurvePoint, CurvePoint]]:
    """The same point of the method's curve in its two figures."""
    one, other = ({(p.panel, p.stage, p.step): p for p in points if (p.figure, p.arm) == where} for where in _METHOD)
    return [(one[key], other[key]) for key in one if key in other]


def curve_findings(points: Sequence[CurvePoint]) -> list[Finding]:
    """Points of the method's curve that differ between its two figures by more than reading off explains."""
    return [
        Finding(
            "curve", 0, f"{first.panel}, stage {first.stage}, step {first.step}",
            f"{_METHOD[0][1]} ({_METHOD[0][0]}) and {_METHOD[1][1]} ({_METHOD[1][0]})",
            f"{first.accuracy:.3f} and {second.accuracy:.3f}", "one value",
            f"the same curve is drawn in both figures; reading off moves each by {READ_OFF} at most",
        )
        for first, second in _method_pairs(points)
        if abs(first.accuracy - second.accuracy) > _SLACK
    ]  # fmt: skip


def curve_notes(points: Sequence[CurvePoint], rows: Sequence[PaperRow]) -> list[Note]:
    """How many points could be compared, and the one figure that looks like a table's and is another."""
    pairs = _method_pairs(points)
    agree = sum(abs(first.accuracy - second.accuracy) <= _SLACK for first, second in pairs)
    notes = [Note("Figures", f"{agree} of {len(pairs)} points of the method's curve agree between its two figures.")]
    lowest = min((row for row in rows if row.variant == AS_RELEASED), key=lambda row: row.average, default=None)
    start = next((p for p in points if (p.arm, p.step) == ("single stage", 0)), None)
    if lowest is not None and start is not None and 100 * start.accuracy + 100 * READ_OFF < lowest.average:
        text = (
            f"The single stage's curve begins at {start.accuracy:.2f}, while the lowest average of a model as released in "
            f"Table 1 is {lowest.average:.2f} % ({lowest.name}): validation in the training format and the benchmark are two "
            "protocols, so this is no contradiction."
        )
        notes.append(Note("Figures", text))
    return notes
