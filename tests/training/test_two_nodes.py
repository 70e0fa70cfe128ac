"""More than one node: a step over two Ray nodes, and a run on one node that goes on from its checkpoint.

Two nodes on this machine, by Ray's own cluster utility, each with one logical GPU; then one node with two of them.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.tiny_run import make_profile, rows

from envtune.errors import EnvtuneError
from envtune.profile import load_profile, with_nodes
from envtune.training import train
from envtune.training.checkpoints import newest_whole
from envtune.training.stage import run_environment

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

# Ray's cluster utility in a process of its own, so that the nodes get the run's environment and end with it
NODES = """
import sys
from ray.cluster_utils import Cluster
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 8, "num_gpus": 1, "include_dashboard": False})
cluster.add_node(num_cpus=8, num_gpus=1)
cluster.wait_for_nodes()
print(cluster.address, flush=True)
sys.stdin.read()
cluster.shutdown()
"""


@pytest.fixture
def profile_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ENVTUNE_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "datasets"))
    keys = {"trainer.total_training_steps": 2, "trainer.save_freq": 1}
    return make_profile(tmp_path, environment={"RAY_AUTH_MODE": "disabled"}, **keys)


@pytest.fixture
def two_nodes(profile_path: Path) -> Iterator[str]:
    """Address of a Ray cluster of two nodes."""
    environment = run_environment(load_profile(str(profile_path)))
    with subprocess.Popen(
        [sys.executable, "-c", NODES], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True
    ) as nodes:
        assert nodes.stdin and nodes.stdout
        address = nodes.stdout.readline().strip()
        assert address, "Ray did not start"
        yield address
        nodes.stdin.close()


def test_a_step_over_two_nodes_and_on_with_one(profile_path: Path, two_nodes: str, tmp_path: Path) -> None:
    profile = load_profile(str(profile_path))
    stage = profile.stage_dir("stage1")
    environment = {**os.environ, "RAY_ADDRESS": two_nodes, "NNODES": "2"}
    command = [sys.executable, "-m", "envtune.cli", "train", "--profile", str(profile_path), "--stage", "stage1"]
    log = tmp_path / "log.txt"
    with log.open("wb") as output, subprocess.Popen(command, env=environment, stdout=output, stderr=output) as driver:
        while not (stage / "attempts" / "001" / "verl.jsonl").is_file() or not rows(
            stage / "attempts" / "001" / "verl.jsonl"
        ):
            assert driver.poll() is None, log.read_text()
            time.sleep(0.1)
        driver.send_signal(signal.SIGKILL)  # after the first step, whose checkpoint is whole by then
    (step,) = rows(stage / "attempts" / "001" / "verl.jsonl")[:1]
    assert step["data"]["actor/grad_norm"] > 0
    assert newest_whole(stage / "checkpoints", reported=1, workers=2) == 1
    layout = json.loads((stage / "attempts" / "001" / "attempt.json").read_text())["layout"]
    assert (layout["nodes"], layout["gpus_per_node"]) == (2, 1)
    shards = {path.name for path in (stage / "checkpoints" / "global_step_1" / "actor").glob("model_*.pt")}
    assert shards == {f"model_world_size_2_rank_{rank}.pt" for rank in (0, 1)}

    # one worker cannot take up what two have written, and says so
    with pytest.raises(EnvtuneError, match="checkpoints are of 2 workers, this run has 1"):
        train(with_nodes(profile, 1), stage="stage1")

    one_node = profile_path.with_name("one-node.yaml")
    text = profile_path.read_text(encoding="utf-8")
    text = text.replace("trainer.n_gpus_per_node: 1", "trainer.n_gpus_per_node: 2").replace(
        "num_gpus: 1", "num_gpus: 2"
    )
    one_node.write_text(text.replace("num_cpus: 8", "num_cpus: 16"), encoding="utf-8")
    train(load_profile(str(one_node)), stage="stage1")
    assert [row["step"] for row in rows(stage / "metrics.jsonl")] == [1, 2]
    second = json.loads((stage / "attempts" / "002" / "attempt.json").read_text())
    assert second["start_step"] == 1
    assert (second["layout"]["nodes"], second["layout"]["gpus_per_node"]) == (1, 2)
    assert json.loads((stage / "done.json").read_text())["steps"] == 2
