"""Evaluating a profile: which checkpoints there are, what is skipped, and the real server (slow)."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from envtune.errors import EnvtuneError
from envtune.evaluation.checkpoints import Checkpoint, baselines, checkpoints, reported_names
from envtune.evaluation.endpoint import ChatEndpoint
from envtune.evaluation.records import RunFolder, read_records
from envtune.evaluation.run import evaluate, evaluation_tasks, suite_choices, suites_of
from envtune.evaluation.scripted import ScriptedEndpoint
from envtune.evaluation.server import ServerSettings, VllmServer
from envtune.files import sha256_weights
from envtune.models.tiny import write_random_model
from envtune.profile import Profile, Tasks
from envtune.tasks import load_tasks

HELD_OUT = tuple(
    task.id for task in load_tasks("paper", "heldout") if task.index == load_tasks("paper", "heldout")[0].index
)


RUN = Path("bfcl-v3") / "seed3"


@pytest.fixture
def profile(tmp_path: Path) -> Profile:
    return Profile(
        name="small", release="paper", seed=3, model={"source": "smollm2-warm-start"},
        tasks=Tasks(evaluation=HELD_OUT, max_tools=8),
        run_dir=tmp_path / "runs" / "small", results_dir=tmp_path / "results" / "small",
        evaluation={
            "max_tokens": 24, "max_model_len": 4096, "concurrency": 4,
            "server": {"dtype": "float32", "enforce-eager": True, "max-num-seqs": 4},
        },
        environment={"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": "2"},
    )  # fmt: skip


def finish(profile: Profile, stage: str, seed: int) -> Path:
    """A stage's result as training leaves it."""
    model = write_random_model(profile.stage_dir(stage) / "model", seed)
    (profile.stage_dir(stage) / "done.json").write_text(json.dumps({"steps": 2}))
    return model


def test_checkpoints_that_exist(profile: Profile) -> None:
    with pytest.raises(EnvtuneError, match="make data PROFILE=small"):
        checkpoints(profile)
    write_random_model(profile.run_dir / "model")
    for seed, stage in enumerate(("stage1", "stage2", "stage4")):
        finish(profile, stage, seed)
    found = checkpoints(profile)
    assert [(one.name, one.training_steps) for one in found] == [("start", 0), ("stage1", 2), ("stage2", 4)]
    assert found[0].sha256 == found[1].sha256 != found[2].sha256, "the hash is of the weights, not of the folder"
    (profile.stage_dir("stage1") / "model" / "model.safetensors").unlink()
    with pytest.raises(EnvtuneError, match="holds no model"):
        checkpoints(profile)


def test_only_held_out_tasks(profile: Profile) -> None:
    tasks = evaluation_tasks(profile)
    assert [task.id for task in tasks] == list(HELD_OUT) and {task.tools_cut for task in tasks} == {8}
    whole = dataclasses.replace(profile, tasks=Tasks())
    assert len(evaluation_tasks(whole)) == 300
    seen = load_tasks("paper", "train")[0].id
    with pytest.raises(EnvtuneError, match=f"not among the held-out tasks.*{seen}"):
        evaluation_tasks(dataclasses.replace(profile, tasks=Tasks(evaluation=(seen,))))


def test_an_endpoint_of_the_users(profile: Profile) -> None:
    with ScriptedEndpoint(evaluation_tasks(profile)) as scripted:
        (folder,) = evaluate(profile, base_url=scripted.base_url, model=scripted.model).values()
        assert folder == profile.run_dir / "evaluation" / "other-scripted"
        number = len(scripted.requests)
        assert {record.outcome for record in read_records(folder / RUN / "records.jsonl")} == {"passed"}
        evaluate(profile, base_url=scripted.base_url, model=scripted.model)
        assert len(scripted.requests) == number, "done before"
        warmer = dataclasses.replace(profile, evaluation={**profile.evaluation, "temperature": 1.0})
        evaluate(warmer, base_url=scripted.base_url, model=scripted.model)
        assert len(scripted.requests) == 2 * number, "other settings: measured anew"
        (before,) = (folder / "bfcl-v3").glob("before1-*/records.jsonl")
        assert len(read_records(before)) == len(HELD_OUT), "what was paid for is kept, beside what tables read"
    with pytest.raises(EnvtuneError, match="--model NAME"):
        evaluate(profile, base_url=scripted.base_url)


def test_suites_at_the_ends_of_a_run(profile: Profile) -> None:
    """The last result is that of the last stage that is done; every baseline is measured on all suites."""
    settings = {"bfcl-v3": {}, "bfcl-memory": {"checkpoints": "ends"}}
    chosen = dataclasses.replace(
        profile, evaluation={**profile.evaluation, "suites": settings, "baselines": ["org/A-7B", "org/B", "C/"]}
    )
    write_random_model(profile.run_dir / "model")
    for seed, stage in enumerate(("stage1", "stage2")):
        finish(profile, stage, seed)

    def measured(listed: list[Checkpoint]) -> dict[str, int]:
        return {one.name: len(suites_of(one, listed, suite_choices(chosen))) for one in listed}

    assert measured(checkpoints(chosen)) == {"start": 2, "stage1": 1, "stage2": 2}
    assert measured(baselines(chosen)) == {"baseline-org-A-7B": 2, "baseline-org-B": 2, "baseline-C": 2}
    assert {*measured(checkpoints(chosen)), *measured(baselines(chosen))} < set(reported_names(chosen))
    with pytest.raises(EnvtuneError, match="names no baselines"):
        evaluate(profile, with_baselines=True)
    wrong = dataclasses.replace(chosen, evaluation={"suites": {"bfcl-memory": {"checkpoints": "last"}}})
    with pytest.raises(EnvtuneError, match="checkpoints are all or ends, not 'last'"):
        suite_choices(wrong)


def test_sigterm_stops_what_was_started() -> None:
    """As `docker stop` sends it: a vLLM server left behind would keep its GPU."""
    script = (
        "import contextlib, time\n"
        "from envtune.evaluation.session import stopped_cleanly\n"
        "with stopped_cleanly(), contextlib.ExitStack() as stack:\n"
        "    stack.callback(print, 'stopped', flush=True)\n"
        "    print('begun', flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "begun\n"
        process.terminate()
        assert (process.communicate()[0], process.returncode) == ("stopped\n", 143)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temprature": 1}, "unknown evaluation setting 'temprature'"),
        ({"temperature": "hot"}, "evaluation.temperature is a number from 0 up, not 'hot'"),
        ({"temperature": float("nan")}, "evaluation.temperature is a number"),
        ({"concurrency": None}, "evaluation.concurrency is a whole number from 1 up, not None"),
        ({"repeats": None}, "evaluation.repeats is a whole number from 1 up, not None"),
        ({"suites": {"bfcl-v3": {"optional": "no"}}}, "optional is true or false, not 'no'"),
        ({"concurrency": 0}, "evaluation.concurrency is a whole number from 1 up, not 0"),
        ({"repeats": 0}, "evaluation.repeats is a whole number from 1 up"),
        ({"seed": "x"}, "evaluation.seed is a whole number"),
        ({"user": "other"}, "evaluation.user is self, or"),
        ({"user": {"model": "a"}}, "evaluation.user is self, or"),
        ({"suites": ["bfcl-v3"]}, "evaluation.suites is suites by name"),
        ({"suites": {"bfcl-v3": 5}}, "bfcl-v3 takes settings by name, or false, not 5"),
        ({"suites": {"bfcl-v3": {"limit": True}}}, "a limit is a whole number from 1 up, not True"),
        ({"suites": {"bfcl-v3": {"strata": "base"}}}, "strata of bfcl-v3 is a list"),
        ({"suites": {"bfcl-v3": {"items": ["nonsense"]}}}, "bfcl-v3 has no item 'nonsense'"),
        ({"baselines": ["a/b", "a-b"]}, "evaluation.baselines is a list of hub ids or folders whose names differ"),
    ],
)
def test_settings_that_cannot_be(profile: Profile, settings: dict[str, Any], message: str) -> None:
    wrong = dataclasses.replace(profile, evaluation=settings)
    with pytest.raises(EnvtuneError, match=re.escape(message)):
        evaluate(wrong, base_url="http://127.0.0.1:9/v1", model="m")


def test_a_part_of_the_profiles_tasks(profile: Profile) -> None:
    settings = {**profile.evaluation, "suites": {"bfcl-v3": {"strata": ["miss_func"]}}}
    with ScriptedEndpoint(evaluation_tasks(profile)) as scripted:
        chosen = dataclasses.replace(profile, evaluation=settings)
        (folder,) = evaluate(chosen, base_url=scripted.base_url, model=scripted.model).values()
    assert {record.stratum for record in read_records(folder / RUN / "records.jsonl")} == {"miss_func"}


def test_the_key_goes_along(profile: Profile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENVTUNE_API_KEY", "sk-of-the-user")
    seen = []
    ask = ChatEndpoint.__init__

    def init(self: ChatEndpoint, *settings: Any, **named: Any) -> None:
        seen.append(named.get("api_key"))
        ask(self, *settings, **named)

    monkeypatch.setattr(ChatEndpoint, "__init__", init)
    with ScriptedEndpoint(evaluation_tasks(profile)) as scripted:
        evaluate(profile, base_url=scripted.base_url, model=scripted.model)
    assert set(seen) == {"sk-of-the-user"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--limit 1", "--limit is only used with --suite"),
        ("--format fc", "--format is only used with --suite"),
        ("--baselines --model m", "leave out --model"),
        ("--model= --base-url http://127.0.0.1:9/v1", "--model is empty"),
        ("--suite bfcl-v3 --model m --out /dev/null", "/dev/null/logs cannot be made"),
        (
            "--suite bfcl-v3 --model m --out o --base-url http://127.0.0.1:9/v1 --server seed=1",
            "--server is of the vLLM",
        ),
        ("--suite bfcl-v3 --model m --out o --arm full", "--arm is only used without --suite"),
        ("--suite bfcl-memory --model m --out o --split test", "--split is only used by bfcl-v3"),
        ("--suite bfcl-v3 --model m --out o --strata ,", "--strata is empty"),
        ("--suite bfcl-v3 --model m --out o --user-model u", "go together"),
        (
            "--suite bfcl-v3 --model m --out o --base-url http://127.0.0.1:9/v1 --temperature nan",
            "temperature is a number",
        ),
        (
            "--suite bfcl-v3 --model m --out o --base-url http://127.0.0.1:9/v1 --max-tokens 0",
            "max_tokens is a whole number",
        ),
    ],
)
def test_options_that_would_do_nothing(tmp_path: Path, arguments: str, message: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "envtune.cli", "evaluate", *arguments.split()],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr


@pytest.mark.slow
def test_real_server_one_for_all_checkpoints(profile: Profile, capfd: pytest.CaptureFixture[str]) -> None:
    """vLLM serves the starting model, takes over other weights, and gives what a fresh server would give."""
    write_random_model(profile.run_dir / "model", seed=10)
    second = finish(profile, "stage1", seed=11)
    folders = evaluate(profile)
    said = capfd.readouterr().err
    assert "start (started)" in said and "stage1 (reloaded)" in said
    replies = {}
    for name, folder in folders.items():
        summary = RunFolder(folder / RUN).read_summary()
        assert summary is not None and summary["complete"] and summary["identity"]["checkpoint_sha256"]
        records = read_records(folder / RUN / "records.jsonl")
        assert [record.id for record in records] == list(HELD_OUT)
        assert all(record.tokens_out and record.truncated == record.requests for record in records)
        replies[name] = _replies(folder)
    assert replies["start"] != replies["stage1"]
    fresh = dataclasses.replace(profile, run_dir=profile.run_dir.parent / "fresh")
    (folder,) = evaluate(fresh, model=str(second)).values()
    assert _replies(folder) == replies["stage1"]
    assert sha256_weights(second) == checkpoints(profile)[1].sha256


def _replies(folder: Path) -> list[str]:
    rows = [json.loads(line) for line in (folder / RUN / "trajectories.jsonl").read_text().splitlines()]
    return [message["content"] for row in rows for message in row["messages"] if message["role"] == "assistant"]


@pytest.mark.slow
def test_a_server_that_does_not_start(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    server = VllmServer(ServerSettings(), tmp_path / "server.log")
    with server, pytest.raises(EnvtuneError, match=r"ended while it loaded .*server\.log"):
        server.load(str(tmp_path / "model"))
