"""Calibration: what is published as data, and what is said of runs that agree with it or do not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from envtune.bfcl import CATEGORIES
from envtune.errors import EnvtuneError
from envtune.evaluation.records import Record
from envtune.tables.calibration import Published, calibrate, published
from envtune.tables.verdicts import CONSISTENT, INCONSISTENT

ROW = published("qwen3-8b-fc")
SUMMARY: dict[str, Any] = {
    "identity": {
        "release": "paper",
        "model": "some/model",
        "protocol": {"name": "native-fc-1"},
        "decoding": {"seed": 42},
    },
    "provenance": {"commit": "0" * 40, "time": "2026-01-01T00:00:00Z"},
}


def records(row: Published, more: int = 0) -> list[Record]:
    """A run in which so many items of each category pass as are published, and `more`, other task numbers in each."""
    made = []
    for category, step in zip(CATEGORIES, (1, 7, 11, 13), strict=True):
        for number in range(row.items):
            passed = number * step % row.items < row.passed[category] + more
            outcome = "passed" if passed else "failed"
            made.append(
                Record(f"multi_turn_{category}_{number}", category, str(number), outcome, item_sha256="", passed=passed)
            )
    return made


def test_what_is_published() -> None:
    assert (ROW.hub_id, ROW.release, ROW.average) == ("Qwen/Qwen3-8B", "paper", 33.0)
    assert ROW.serve["enable-auto-tool-choice"] is True and ROW.serve["tool-call-parser"] == "hermes"
    assert "BFCL-Result" in ROW.source
    with pytest.raises(EnvtuneError, match="choose of: qwen3-8b-fc, xlam-2-8b-fc-r"):
        published("other")


@pytest.mark.parametrize(("more", "decided"), [(0, CONSISTENT), (40, INCONSISTENT), (-40, INCONSISTENT)])
def test_the_average_decides(more: int, decided: str) -> None:
    said = calibrate(ROW, records(ROW, more), SUMMARY)
    assert said.verdict == decided and said.is_right == (more == 0)
    assert f"**{decided}**" in said.markdown
    assert f"| average | 33.00 |  | {33 + more / 2:.2f} |" in said.markdown


def test_only_whole_runs_of_its_release() -> None:
    with pytest.raises(EnvtuneError, match="all 200 items a category of the release paper"):
        calibrate(ROW, records(ROW)[1:], SUMMARY)
    other = {**SUMMARY, "identity": {**SUMMARY["identity"], "release": "current"}}
    with pytest.raises(EnvtuneError, match="of the release paper"):
        calibrate(ROW, records(ROW), other)


def test_a_file_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("name,hub_id\na,b\n")
    with pytest.raises(EnvtuneError, match="restore it from the repository"):
        published("a", tmp_path / "rows.csv")
