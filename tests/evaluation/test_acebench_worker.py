"""ACEBench's agent tasks: the data, the worker, and its verdicts beside evalscope's own run on the same replies."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import subprocess
import urllib.error
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from helpers.eval_environment import EVAL_PYTHON, job, needs_eval
from helpers.replay_endpoint import ReplayEndpoint

from envtune.errors import EnvtuneError
from envtune.evaluation.upstream import acebench_data
from envtune.evaluation.upstream.acebench_data import SHA256, STRATA, acebench_files, acebench_records
from envtune.evaluation.upstream.client import UnavailableSuite, Worker, start_worker
from envtune.files import sha256_file

DATA = os.environ.get("ENVTUNE_ACEBENCH")
with_data = pytest.mark.skipif(not DATA, reason="ENVTUNE_ACEBENCH names no folder with ACEBench's agent data")

# Of the milestones, made decodable; the others reach upstream's end state.
GOLD_FAILS = (*(f"agent_multi_step_{n}" for n in (0, 1, 12, 13, 14, 15, 16, 17)), "agent_multi_turn_6")

MADE_UP = (
    {
        "id": "agent_multi_step_0",
        "question": "Turn on the wifi.",
        "initial_config": {"BaseApi": {"wifi": False, "logged_in": True}},
        "function": [{"name": "turn_on_wifi", "parameters": {"type": "dict", "required": [], "properties": {}}}],
        "involved_classes": ["BaseApi"],
        "rubric": {
            "ground_truth": [{"BaseApi": {"wifi": True, "logged_in": True}}],
            "mile_stone": [["[turn_on_wifi()] "], ["[turn_on_wifi(), turn_on_wifi()]"]],
        },
    },
    {
        "id": "agent_multi_turn_0",
        "question": "You want to tell Frank's agent nothing.",
        "initial_config": {"BaseApi": {"wifi": True, "logged_in": True}},
        "function": [],
        "involved_classes": ["BaseApi", "ReminderApi"],
        "rubric": {
            "ground_truth": [{"BaseApi": {"wifi": True, "logged_in": True}}, {"ReminderAPI": {"reminder_list": {}}}],
            "mile_stone": ["[add_reminder(title='Frank's day', description='x', time='2024-07-15 09:30')]"],
        },
    },
)

IN_PROCESS = """
import json, sys
from dataclasses import asdict
from pathlib import Path
from envtune.evaluation.upstream.acebench import AceBenchAgent
from envtune.evaluation.upstream.serve import Job
given = json.load(sys.stdin)
benchmark = AceBenchAgent(given["records"], "en")
said = {"items": [asdict(item) for item in benchmark.items()], "scripts": benchmark.scripts(), "results": []}
for number, item in enumerate(given["play"]):
    root = given["roots"][number]
    job = Job(number, item, "m", f"{root}/agent/v1", "u", f"{root}/user/v1", 1, Path("."))
    try:
        said["results"].append(asdict(benchmark.run(job)))
    except Exception as error:
        said["results"].append(type(error).__name__)
json.dump(said, sys.stdout)
"""

# evalscope's own run of a data set folder, which leaves a review of each item.
OWN_RUN = """
import sys
from evalscope import TaskConfig, run_task
folder, root, out = sys.argv[1:]
simulator = {"user_model": "u", "user_model_api_url": f"{root}/user/v1", "user_model_api_key": "none"}
arguments = {"dataset_id": folder, "subset_list": ["agent_multi_step", "agent_multi_turn"],
             "extra_params": {"language": "en", **simulator}}
run_task(TaskConfig(model="m", api_url=f"{root}/agent/v1", api_key="none", eval_type="openai_api",
                    datasets=["acebench"], dataset_args={"acebench": arguments}, eval_batch_size=1, work_dir=out,
                    no_timestamp=True, generation_config={"retries": 1}))
"""


def scripted(steps: Mapping[str, list[str]]) -> ReplayEndpoint:
    """An endpoint for one item: side -> what it says, the last for ever."""
    asked: dict[str, int] = {}

    def decide(path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        side = path.split("/")[1]
        asked[side] = asked.get(side, 0) + 1
        return {"content": steps[side][min(asked[side], len(steps[side])) - 1]}

    return ReplayEndpoint(decide)


def play_made_up(play: Sequence[str], endpoints: Sequence[ReplayEndpoint]) -> dict[str, Any]:
    """What the benchmark says of MADE_UP: its items, scripts, and the result of each of the items played."""
    given = json.dumps({"records": MADE_UP, "play": play, "roots": [endpoint.root for endpoint in endpoints]})
    done = subprocess.run(
        [EVAL_PYTHON, "-c", IN_PROCESS], input=given, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with MADE_UP as upstream's four files, whose hashes are the pinned ones."""
    here = tmp_path / "data_all" / "data_en"
    (here / "possible_answer").mkdir(parents=True)
    hashes = {}
    for record, stratum in zip(MADE_UP, STRATA, strict=True):
        question = {key: value for key, value in record.items() if key != "rubric"}
        for name, row in (
            (f"data_{stratum}.json", question),
            (f"possible_answer/data_{stratum}.json", {"id": record["id"], **record["rubric"]}),
        ):
            (here / name).write_text(json.dumps(row) + "\n", encoding="utf-8")
            hashes[name] = sha256_file(here / name)
    monkeypatch.setattr(acebench_data, "SHA256", MappingProxyType({"en": hashes}))
    return tmp_path


def test_questions_and_answers_are_joined(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert acebench_records(acebench_files(folder, "en"), STRATA) == list(MADE_UP)
    assert acebench_records(acebench_files(folder, "en"), ["agent_multi_turn"]) == [MADE_UP[1]]
    os.rename(folder / "data_all" / "data_en", folder / "en")
    monkeypatch.setenv("ENVTUNE_ACEBENCH", str(folder))
    assert acebench_records(acebench_files(None, "en"), STRATA) == list(MADE_UP)


def test_other_data_is_refused(folder: Path) -> None:
    name = folder / "data_all" / "data_en" / "data_agent_multi_turn.json"
    name.write_text(name.read_text() + "\n")
    with pytest.raises(EnvtuneError, match="is not the file of ACEBench e6db74b"):
        acebench_files(folder, "en")
    name.unlink()
    with pytest.raises(EnvtuneError, match="there is no such file"):
        acebench_files(folder, "en")
    with pytest.raises(EnvtuneError, match="holds neither en/ nor data_all/data_en/"):
        acebench_files(folder / "nothing", "en")
    with pytest.raises(EnvtuneError, match="no language 'fr'"):
        acebench_files(folder, "fr")


def test_fetched_once_and_only_the_pinned_bytes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def urlopen(address: str, timeout: float) -> io.BytesIO:
        asked.append(address)
        inside = address.partition(acebench_data.COMMIT)[2]
        return io.BytesIO((folder / inside.lstrip("/")).read_bytes())

    monkeypatch.delenv("ENVTUNE_ACEBENCH", raising=False)
    monkeypatch.setenv("ENVTUNE_CACHE", str(folder / "cache"))
    monkeypatch.setattr("urllib.request.urlopen", urlopen)
    assert acebench_records(acebench_files(None, "en"), STRATA) == list(MADE_UP)
    assert len(asked) == 4 and asked[0].startswith("https://raw.githubusercontent.com/ACEBench/ACEBench/e6db74b7")
    acebench_files(None, "en")
    assert len(asked) == 4
    monkeypatch.setenv("ENVTUNE_CACHE", str(folder / "other"))
    monkeypatch.setattr("urllib.request.urlopen", lambda address, timeout: io.BytesIO(b"{}"))
    with pytest.raises(EnvtuneError, match="another file than the pinned one"):
        acebench_files(None, "en")

    def unreachable(address: str, timeout: float) -> io.BytesIO:
        raise urllib.error.URLError("no network")

    monkeypatch.setattr("urllib.request.urlopen", unreachable)
    with pytest.raises(EnvtuneError, match=r"cannot be fetched \(no network\); name a folder"):
        acebench_files(None, "en")


@needs_eval
def test_made_up_tasks() -> None:
    step, turn = "agent_multi_step_0", "agent_multi_turn_0"
    broken = "[add_reminder(title={(1, 2): 3}, description={('a', 1): 2}, time='t')]"
    episodes: list[tuple[str, dict[str, list[str]]]] = [
        (step, {"agent": ["[turn_on_wifi()]", "finish conversation"]}),
        (step, {"agent": ["What shall I do?", "[turn_on_wifi()]", "[turn_on_wifi(", "finish conversation"]}),
        (step, {"agent": ["[turn_on_wifi(wifi=True)]", "finish conversation"]}),
        (turn, {"user": ["Hello.", "finish conversation"], "agent": ["Nothing to do."]}),
        (turn, {"user": ["Hello."], "agent": [broken]}),
        (turn, {"user": ["Hello.", ""], "agent": ["Nothing to do."]}),
    ]
    with contextlib.ExitStack() as stack:
        endpoints = [stack.enter_context(scripted(steps)) for _, steps in episodes]
        said = play_made_up([item for item, _ in episodes], endpoints)
    assert [(item["id"], item["stratum"]) for item in said["items"]] == [(f"{name}_0", name) for name in STRATA]
    right, nudged, wrong, nothing, unhashable, mute = said["results"]
    assert right["passed"] and right["details"] == {"process_accuracy": 1.0, "end_state": True, "finished": True}
    assert nudged["passed"] and nudged["score"] == 1.0, "no state is kept from the item before: wifi was off again"
    assert not wrong["passed"] and wrong["score"] == 0.0 and wrong["error_type"] == "class attributes wrong"
    defects = ["never compares ReminderAPI, which is no class of ACEBench", "passes with no action"]
    assert nothing["passed"] and nothing["details"]["known_defects"] == defects
    assert mute == "UserFault", "it says nothing about the agent"
    assert not unhashable["passed"] and unhashable["error_type"] == "rollout_error"
    scripts = said["scripts"]
    assert scripts[step] == {"agent": [{"text": "[turn_on_wifi()]"}, {"text": "finish conversation"}], "user": []}
    call = """[add_reminder(title="Frank's day", description='x', time='2024-07-15 09:30')]"""
    assert scripts[turn]["agent"][0] == {"text": call}
    assert scripts[turn]["user"] == [{"text": MADE_UP[1]["question"]}, {"text": "finish conversation"}]


@needs_eval
def test_an_endpoint_that_gives_out_is_no_verdict() -> None:
    """The frozen endpoint answers 500 to every request: evalscope would have scored a zero."""
    with ReplayEndpoint(lambda path, body: {}) as endpoint:
        endpoint.frozen = True
        assert play_made_up(["agent_multi_step_0"], [endpoint])["results"] == ["InternalServerError"]
        assert len(endpoint.unknown) == 1, "it is not asked twice"


@needs_eval
@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"strata": ["agent_multi_turn"]}, "agent_multi_turn needs a user simulator"),
        ({"strata": ["normal"]}, "has no stratum 'normal'"),
        ({"language": "fr", "user": True}, "has no language 'fr'"),
        ({"data": "/nowhere", "user": True}, "/nowhere: holds neither en/"),
    ],
)
def test_what_cannot_be_run_is_said(options: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(UnavailableSuite, match=sentence), start_worker("acebench", options, tmp_path / "log"):
        pass


def own_verdicts(folder: Path, root: str) -> dict[str, tuple[bool, float]]:
    """Item -> (end state right, process accuracy) by evalscope's own run against an endpoint."""
    assert DATA is not None
    records = acebench_records(acebench_files(Path(DATA), "en"), STRATA)
    folder.mkdir()
    head = "---\nconfigs:\n- config_name: en\n  data_files:\n  - split: agent\n    path: en.jsonl\n---\n"
    (folder / "README.md").write_text(head)
    texts = ("id", "question")
    rows = [
        {
            key: record[key] if key in texts else json.dumps(record[key])
            for key in (*texts, "function", "rubric", "initial_config", "involved_classes")
        }
        for record in records
    ]
    (folder / "en.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    out = folder / "out"
    done = subprocess.run(
        [EVAL_PYTHON, "-c", OWN_RUN, folder, root, out], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    verdicts = {}
    for review in out.glob("reviews/*/*.jsonl"):
        for line in review.read_text(encoding="utf-8").splitlines():
            score = json.loads(line)["sample_score"]
            value = score["score"]["value"]
            verdicts[score["sample_metadata"]["id"]] = (value["acc"] == 1.0, float(value["process_acc"]))
    return verdicts


@needs_eval
@with_data
@pytest.mark.slow
def test_verdicts_are_evalscopes(tmp_path: Path) -> None:
    """All 50 tasks, a third of them with every call of the script, the others with replies that go wrong somewhere."""
    scripts: dict[str, Any] = {}
    items: list[str] = []
    asked: dict[str, int] = {}

    def decide(path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        side, number = path.split("/")[1:3]
        asked[path] = count = asked.get(path, 0) + 1
        steps = scripts[items[int(number)]][side]
        spoiled = int(number) % 3 and side == "agent" and (count + int(number)) % 4 == 0
        return {"content": "[turn_off(" if spoiled else steps[min(count, len(steps)) - 1]["text"]}

    async def play(root: str, worker: Worker) -> list[dict[str, Any]]:
        return [await worker.run(job(number, item, root, tmp_path)) for number, item in enumerate(items)]

    with (
        ReplayEndpoint(decide) as endpoint,
        start_worker("acebench", {"data": DATA, "user": True}, tmp_path / "log") as worker,
    ):
        scripts.update(worker.scripts())
        items.extend(item.id for item in worker.items)
        results = asyncio.run(play(endpoint.root, worker))
        endpoint.frozen = True
        theirs = own_verdicts(tmp_path / "data", endpoint.root)
        assert not endpoint.unknown
    ours = {item: (result["passed"], result["score"]) for item, result in zip(items, results, strict=True)}
    assert len(ours) == 50 and ours == theirs
    assert {passed for passed, _ in ours.values()} == {True, False}


@needs_eval
@with_data
def test_the_milestones_reach_what_they_reach(tmp_path: Path) -> None:
    """Played all at once, so that a state kept between items would show."""

    async def play(worker: Worker, items: Sequence[str], endpoints: Sequence[ReplayEndpoint]) -> list[dict[str, Any]]:
        jobs = [job(number, item, endpoints[number].root, tmp_path) for number, item in enumerate(items)]
        return await asyncio.gather(*map(worker.run, jobs))

    with (
        start_worker("acebench", {"data": DATA, "user": True}, tmp_path / "log") as worker,
        contextlib.ExitStack() as on,
    ):
        items = [item.id for item in worker.items]
        scripts = worker.scripts()
        texts = [{side: [step["text"] for step in scripts[item][side]] for side in scripts[item]} for item in items]
        endpoints = [on.enter_context(scripted(steps)) for steps in texts]
        results = asyncio.run(play(worker, items, endpoints))
    failed = tuple(item for item, result in zip(items, results, strict=True) if not result["passed"])
    assert failed == GOLD_FAILS
    defects = {item: result["details"].get("known_defects") for item, result in zip(items, results, strict=True)}
    assert [item for item, found in defects.items() if found and "passes with no action" in found] == [
        "agent_multi_turn_7"
    ]
    assert [item for item, found in defects.items() if found] == [
        "agent_multi_step_0",
        "agent_multi_step_1",
        "agent_multi_turn_7",
        "agent_multi_turn_9",
    ]


@with_data
def test_both_languages_have_fifty_tasks() -> None:
    assert DATA is not None
    for language in SHA256:
        records = acebench_records(acebench_files(Path(DATA), language), STRATA)
        assert [sum(record["id"].startswith(name) for record in records) for name in STRATA] == [20, 30]
