"""The command line as a user meets it: exit codes, one clear sentence, nothing half-written."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path


def envtune(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "envtune.cli", *arguments], capture_output=True, text=True, check=False
    )


def test_help_lists_the_commands() -> None:
    done = envtune("--help")
    assert done.returncode == 0
    for command in (
        "score",
        "validate",
        "setup-model",
        "data",
        "train",
        "evaluate",
        "tables",
        "summary",
        "ablations",
        "progress",
        "doctor",
        "record",
        "defects",
        "play",
        "view",
        "audit-paper",
        "calibrate",
        "figures",
        "claims",
        "model-card",
        "regress",
        "report",
    ):
        assert command in done.stdout


def test_validate_prints_a_line_a_category() -> None:
    done = envtune("validate")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 8
    assert [line for line in lines if "200 of 200" not in line and "miss_func_49" not in line] == []


def test_score(tmp_path: Path) -> None:
    source, out = tmp_path / "t.jsonl", tmp_path / "s.jsonl"
    source.write_text('{"id": "multi_turn_base_0", "turns": []}\n')
    assert envtune("score", "--release", "current", str(source), "--out", str(out)).returncode == 0
    assert json.loads(out.read_text()) == {
        "id": "multi_turn_base_0", "valid": False, "turn_scores": [0, 0, 0, 0], "progress": 0.0,
    }  # fmt: skip


def test_bad_input_is_one_sentence_and_code_2(tmp_path: Path) -> None:
    source, out = tmp_path / "t.jsonl", tmp_path / "s.jsonl"
    source.write_text('{"id": "multi_turn_base_0", "turns": []}\n{"id": "x", "turns": []}\n')
    for arguments in (
        ("score", str(source), "--out", str(out)),
        ("score", "--release", "v5", str(source), "--out", str(out)),
        ("score", str(tmp_path / "none"), "--out", str(out)),
        ("train", "--profile", "no-such-profile"),
    ):
        done = envtune(*arguments)
        assert done.returncode == 2, done.stderr
        assert len(done.stderr.splitlines()) == 1 and done.stderr.startswith("envtune: ")
    assert not out.exists()


def test_an_option_that_would_do_nothing_is_refused() -> None:
    done = envtune("validate", "--release", "paper", "--max-result-characters", "8000")
    assert done.returncode == 2 and "--tokenizer" in done.stderr
