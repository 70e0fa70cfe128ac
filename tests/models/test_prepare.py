"""prepare_model: what each source gives, what is refused, and that a second call does no work."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from envtune.errors import EnvtuneError
from envtune.models import prepare_model, smollm2
from envtune.models.checkpoint import NOTE, WEIGHTS, read_note
from envtune.models.tiny import write_random_model


def _profile(run_dir: Path, **model: Any) -> Any:
    """The part of a profile that prepare_model reads."""
    return SimpleNamespace(model=model, start_model=run_dir / "model")


def test_a_hub_id_and_a_local_model_come_back_unchanged(tmp_path: Path) -> None:
    assert prepare_model(_profile(tmp_path, source="hf", path="Qwen/Qwen2.5-7B-Instruct")) == "Qwen/Qwen2.5-7B-Instruct"
    local = str(write_random_model(tmp_path / "model"))
    assert prepare_model(_profile(tmp_path, source="hf", path=local)) == local
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize(
    ("model", "complaint"),
    [
        ({"source": "hf", "path": "./not/there"}, "no model at ./not/there"),
        ({"source": "hf"}, "no path"),
        ({"source": "ggml"}, "unknown model source 'ggml'; choose one of: smollm2-warm-start, mini, hf"),
        ({}, "unknown model source None"),
        ({"source": "smollm2-warm-start", "warm_start": {"stepz": 3}}, "warm_start settings are wrong"),
        ({"source": "mini", "mini": {"stepz": 3}}, "mini settings are wrong"),
    ],
)
def test_what_cannot_be_prepared_is_refused(tmp_path: Path, model: dict[str, Any], complaint: str) -> None:
    with pytest.raises(EnvtuneError, match=complaint):
        prepare_model(_profile(tmp_path / "runs", **model))
    assert not (tmp_path / "runs").exists()


QUICK = {"steps": 1, "batch": 1, "probes": 0}


def test_built_once_again_when_the_settings_change_and_whole_after_an_interruption(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real warm start, from a tiny model in place of the 93 MB download (test_smollm2.py converts the real one)."""
    monkeypatch.setattr(smollm2, "write_smollm2", write_random_model)
    run_dir = tmp_path / "runs" / "cpu"
    (run_dir / ".model.unfinished").mkdir(parents=True)  # what a killed run leaves
    (run_dir / ".model.unfinished" / "half").write_text("")
    profile = _profile(run_dir, source="smollm2-warm-start", warm_start=QUICK)
    model_dir = prepare_model(profile)
    assert model_dir == run_dir / "model"
    assert [path.name for path in run_dir.iterdir()] == ["model"]
    assert not (model_dir / "half").exists()
    note = read_note(model_dir)
    assert note is not None
    assert "not the original bf16 checkpoint" in note["spec"]["source"]["weights"]
    assert len(note["warm_start"]["losses"]) == 1
    assert note["warm_start"]["data_sha256"] == note["spec"]["warm_start"]["data_sha256"]
    assert "packages" in note["provenance"]

    first = (model_dir / WEIGHTS).stat().st_mtime_ns
    assert prepare_model(profile) == model_dir
    assert (model_dir / WEIGHTS).stat().st_mtime_ns == first

    prepare_model(_profile(run_dir, source="smollm2-warm-start", warm_start={**QUICK, "seed": 5}))
    again = read_note(model_dir)
    assert again is not None and again["spec"]["warm_start"]["seed"] == 5
    assert (model_dir / WEIGHTS).stat().st_mtime_ns != first

    (model_dir / NOTE).write_text("{")  # not ours, or broken: made anew
    prepare_model(profile)
    assert read_note(model_dir) == note | {"provenance": read_note(model_dir)["provenance"]}
