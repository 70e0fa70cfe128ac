"""reproduce/slurm.sbatch and reproduce/kuberay.yaml: run, or held to the rest of the kit, as far as one machine can.

The Slurm script runs for real, with stand-ins for Slurm's commands and for `make`. One test gives it real Ray: two
nodes on this machine. The others, about how it ends, have a stand-in for Ray as well. Nothing here has Kubernetes: of
the RayJob the fields are held to those that KubeRay's API has (1.5), and the values to the kit's own.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

ROOT = Path(__file__).parents[2]
SLURM = ROOT / "reproduce" / "slurm.sbatch"
KUBERAY = ROOT / "reproduce" / "kuberay.yaml"
BIN = Path(sys.executable).parent

SRUN = """\
#!/usr/bin/env bash
# In srun's place: runs the command here, once for each node. Signals reach the command, as srun passes them on.
echo "srun $*" >>"$CALLS"
nodes=
while [[ $1 == --* ]]; do
  case $1 in
    --nodes=*) nodes=${1#*=} ;;
    --nodelist=*) list=${1#*=} ;;
    --overlap | --ntasks-per-node=1 | --kill-on-bad-exit=1) ;;
    *) echo "srun: unrecognized option $1" >&2; exit 1 ;;
  esac
  shift
done
: "${nodes:?srun without --nodes takes all of them}"
for ((node = 1; node < nodes; node++)); do "$@" || exit 1; done
exec "$@"
"""
SCONTROL = """\
#!/usr/bin/env bash
echo "scontrol $*" >>"$CALLS"
case "$1 $2" in
  "show hostnames") [[ $3 == "gpu[1-2]" ]] && printf 'gpu1\\ngpu2\\n' ;;
  requeue*) ;;
  *) exit 1 ;;
esac
"""
MAKE = """\
#!/usr/bin/env bash
trap 'echo "make ended" >>"$CALLS"; exit 143' TERM
echo "make $* RAY_ADDRESS=$RAY_ADDRESS RAY_AUTH_MODE=$RAY_AUTH_MODE ENVTUNE_RUNS=$ENVTUNE_RUNS" >>"$CALLS"
case $MAKE_DOES in
  fails) exit 3 ;;
  trains) for ((i = 0; i < 600; i++)); do sleep 0.1; done ;;
esac
"""
RAY = f"""\
#!{sys.executable} -IS
# In Ray's place: a head listens, a worker lives as long as there is no file `lost`.
import os, signal, socket, sys, time
def say(what):
    with open(os.environ["CALLS"], "a") as calls:
        calls.write(what + chr(10))
options = dict(word.lstrip("-").partition("=")[::2] for word in sys.argv[2:])
role = "head" if "head" in options else "worker"
def end(*_):
    say(role + " ended")
    sys.exit(1)
signal.signal(signal.SIGTERM, end)
say(f"ray {{role}} started {{options}}")
assert len(open(os.environ["RAY_AUTH_TOKEN_PATH"]).read()) == 64
if role == "head":
    if os.path.exists(os.environ["CALLS"] + ".no-head"):
        sys.exit("no head today")
    listener = socket.create_server((options["node-ip-address"], int(options["port"])))
while role == "head" or not os.path.exists(os.environ["CALLS"] + ".lost"):
    time.sleep(0.1)
sys.exit("lost")
"""


@dataclass
class Job:
    """A checkout, stand-ins, and the variables that sbatch sets. `run` is what Slurm does with the script."""

    folder: Path
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def calls(self) -> list[str]:
        path = self.folder / "calls"
        return path.read_text(encoding="utf-8").splitlines() if path.exists() else []

    @property
    def output(self) -> str:
        return (self.folder / "output").read_text(encoding="utf-8")

    def event(self, name: str) -> None:
        (self.folder / f"calls.{name}").touch()

    def start(self, **variables: str) -> subprocess.Popen[bytes]:
        with (self.folder / "output").open("wb") as output:
            return subprocess.Popen(
                ["bash", SLURM], env=self.variables | variables, stdout=output, stderr=output, start_new_session=True
            )

    def run(self, **variables: str) -> int:
        return self.start(**variables).wait(timeout=120)

    def wait_for(self, call: str) -> None:
        deadline = time.monotonic() + 60
        while not any(line.startswith(call) for line in self.calls):
            assert time.monotonic() < deadline, f"no {call!r} in {self.calls}; output: {self.output}"
            time.sleep(0.05)

    def order(self, *calls: str) -> list[str]:
        """Those of the calls that happened, in the order in which they did."""
        return [call for line in self.calls for call in calls if line.startswith(call)]

    def processes(self) -> list[psutil.Process]:
        """What the job has left running."""
        left = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get("CALLS") == self.variables["CALLS"] and process.status() != "zombie":
                    left.append(process)
        return left


def executable(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)


def free_port() -> int:
    """One that Ray does not give to its own processes."""
    while True:
        with socket.create_server(("", 0)) as listener:
            port = int(listener.getsockname()[1])
        if not 10_000 <= port < 20_000:
            return port


@pytest.fixture
def job(tmp_path: Path) -> Iterator[Job]:
    checkout = tmp_path / "checkout"
    (checkout / "reproduce").mkdir(parents=True)
    (checkout / "Makefile").touch()
    for name, text in {"srun": SRUN, "scontrol": SCONTROL, "make": MAKE}.items():
        executable(tmp_path / "path" / name, text)
    executable(tmp_path / "bin" / "ray", RAY)
    executable(tmp_path / "bin" / "python", '#!/usr/bin/env bash\necho "python RAY_ADDRESS=$RAY_ADDRESS" >>"$CALLS"\n')
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("RAY_", "MAKE", "ENVTUNE_"))}
    number = str(time.time_ns() % 10**9)
    job = Job(
        tmp_path,
        inherited
        | {
            "PATH": f"{tmp_path / 'path'}:{os.environ['PATH']}",
            "CALLS": str(tmp_path / "calls"),
            "BIN": str(tmp_path / "bin"),
            "MAKE_DOES": "",
            "KILLED_WITHIN": "0",
            "RAY_PORT": str(free_port()),
            "ENVTUNE_RUNS": str(tmp_path / "runs"),
            "SLURM_SUBMIT_DIR": str(checkout),
            "SLURM_JOB_ID": number,
            "SLURM_JOB_NODELIST": "gpu[1-2]",
            "SLURM_NNODES": "2",
            "SLURM_CPUS_PER_TASK": "2",
            "SLURM_GPUS_ON_NODE": "8",
        },
    )
    if not subprocess.run(["hostname", "-I"], capture_output=True, text=True, check=False).stdout.strip():
        job.variables["HEAD_IP"] = "127.0.0.1"  # a machine without a network
    yield job
    for process in job.processes():
        with contextlib.suppress(psutil.Error):
            process.kill()
    shutil.rmtree(f"/tmp/ray-{number}", ignore_errors=True)


def nothing_is_left(job: Job) -> None:
    assert not list((job.folder / "runs").glob(".slurm-*")), "the token is removed"
    assert not Path(f"/tmp/ray-{job.variables['SLURM_JOB_ID']}").exists()
    deadline = time.monotonic() + 10
    while (left := job.processes()) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not left


@pytest.mark.timeout(180)
def test_slurm_trains_on_two_real_ray_nodes(job: Job) -> None:
    assert job.run(BIN=str(BIN), JOIN_SECONDS="100") == 0, job.output
    joined = re.search(r"2 nodes have joined Ray: (.*)", job.output)
    assert joined, job.output
    assert yaml.safe_load(joined[1]) == {"CPU": 4.0, "GPU": 16.0}
    [made] = [call for call in job.calls if call.startswith("make ")]
    assert re.match(r"make train PROFILE=gpu NNODES=2 RAY_ADDRESS=[\d.]+:\d+ RAY_AUTH_MODE=token", made)
    starts = [call for call in job.calls if " start " in call]
    assert ["--head" in call for call in starts] == [True, False]
    assert all("--nodes=1" in call for call in starts)
    assert ["--nodelist=gpu1" in call for call in starts] == [True, False]
    assert "--nodelist=gpu2" in starts[1]
    nothing_is_left(job)


def test_slurm_passes_on_what_was_asked_for(job: Job) -> None:
    asked = {"PROFILE": "qwen3-4b", "ARM": "single-stage", "SEED": "43"}
    assert job.run(**asked) == 0, job.output
    [made] = [call for call in job.calls if call.startswith("make ")]
    assert made.startswith("make train PROFILE=qwen3-4b NNODES=2 ARM=single-stage SEED=43 RAY_ADDRESS=")
    assert made.endswith(f"ENVTUNE_RUNS={job.folder / 'runs'}")
    assert job.order("python", "make train", "worker ended", "head ended") == [
        "python", "make train", "worker ended", "head ended",
    ]  # fmt: skip
    assert not job.order("scontrol requeue")
    nothing_is_left(job)


def test_slurm_gives_the_code_of_a_failed_training(job: Job) -> None:
    assert job.run(MAKE_DOES="fails") == 3, job.output
    assert not job.order("scontrol requeue"), "it would fail again"
    nothing_is_left(job)


def test_slurm_is_queued_again_at_the_time_limit(job: Job) -> None:
    process = job.start(MAKE_DOES="trains")
    job.wait_for("make train")
    process.send_signal(signal.SIGUSR1)
    assert process.wait(timeout=60) == 143
    again = f"scontrol requeue {job.variables['SLURM_JOB_ID']}"
    assert job.order("make ended", "worker ended", "head ended", again) == [
        "make ended", "worker ended", "head ended", again,
    ]  # fmt: skip
    nothing_is_left(job)


@pytest.mark.parametrize("whom", ["script", "steps"])
def test_slurm_ends_in_order_when_it_is_told_to_and_leaves_the_rest_to_slurm(job: Job, whom: str) -> None:
    process = job.start(MAKE_DOES="trains", KILLED_WITHIN="0.1")
    job.wait_for("make train")
    if whom == "script":
        process.send_signal(signal.SIGTERM)
    else:  # as on preemption: all steps are told at once, the script is not
        for step in psutil.Process(process.pid).children():
            if "sleep" not in step.name():
                step.terminate()
    assert process.wait(timeout=60) == 143
    assert "waiting for Slurm" in job.output
    assert not job.order("scontrol requeue"), "scancel sends the same signal"
    nothing_is_left(job)


@pytest.mark.timeout(120)
def test_slurm_ends_a_training_that_lost_a_node(job: Job) -> None:
    process = job.start(MAKE_DOES="trains")
    job.wait_for("make train")
    job.event("lost")
    assert process.wait(timeout=60) == 1
    assert "Ray ended on one of the nodes" in job.output
    assert job.order("make ended", "head ended") == ["make ended", "head ended"]
    nothing_is_left(job)


def test_slurm_says_what_is_wrong_before_it_trains(job: Job) -> None:
    assert job.run(BIN=str(job.folder / "elsewhere")) == 1
    assert "put ENVTUNE_RUNS and the checkout on shared storage" in job.output
    job.event("no-head")
    assert job.run() == 1
    assert "Ray's head did not start" in job.output
    assert job.run(SLURM_SUBMIT_DIR=str(job.folder)) == 1
    assert "submit this from envtune's checkout" in job.output
    assert not job.order("make train")
    nothing_is_left(job)


def test_slurm_asks_for_what_it_uses() -> None:
    subprocess.run(["bash", "-n", SLURM], check=True)
    if shellcheck := shutil.which("shellcheck"):
        subprocess.run([shellcheck, SLURM], check=True)
    asked = dict(re.findall(r"^#SBATCH --([a-z-]+)(?:=(.*))?$", SLURM.read_text(encoding="utf-8"), re.MULTILINE))
    assert int(asked["gpus-per-node"]) == gpus_a_node()
    assert {"requeue", "exclusive"} <= set(asked) and asked["ntasks-per-node"] == "1"
    assert asked["open-mode"] == "append", "the log of the time before a requeue stays"
    assert asked["signal"].startswith("B:USR1@"), "to the script, which traps it"


# KubeRay


def gpus_a_node() -> int:
    """The GPU profile's, which is the paper's unless it says otherwise."""
    settings = yaml.safe_load((ROOT / "envtune" / "training" / "paper_settings.yaml").read_text(encoding="utf-8"))
    profile = yaml.safe_load((ROOT / "reproduce" / "gpu.yaml").read_text(encoding="utf-8"))
    key = "trainer.n_gpus_per_node"
    [published] = [row["paper"] for row in settings if row["key"] == key]
    return int(profile["verl"].get(key, published))


def documents() -> dict[str, Any]:
    found = {document["kind"]: document for document in yaml.safe_load_all(KUBERAY.read_text(encoding="utf-8"))}
    assert set(found) == {"PersistentVolumeClaim", "RayJob"}
    return found


FIELDS = {  # of KubeRay's API, ray.io/v1
    "job": "activeDeadlineSeconds backoffLimit clusterSelector deletionStrategy entrypoint entrypointNumCpus "
    "entrypointNumGpus entrypointResources jobId managedBy metadata preRunningDeadlineSeconds rayClusterSpec "
    "runtimeEnvYAML shutdownAfterJobFinishes submissionMode submitterConfig submitterPodTemplate suspend "
    "ttlSecondsAfterFinished",
    "cluster": "authOptions autoscalerOptions enableInTreeAutoscaling gcsFaultToleranceOptions headGroupSpec "
    "headServiceAnnotations managedBy networkPolicy rayVersion suspend upgradeStrategy workerGroupSpecs",
    "head": "enableIngress headService labels rayStartParams resources serviceType template",
    "workers": "groupName idleTimeoutSeconds labels maxReplicas minReplicas numOfHosts rayStartParams replicas "
    "resources scaleStrategy suspend template",
}


def pods(cluster: dict[str, Any]) -> list[dict[str, Any]]:
    return [group["template"]["spec"] for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"])]


def test_kuberay_has_no_field_that_the_api_does_not_have() -> None:
    job = documents()["RayJob"]
    assert job["apiVersion"] == "ray.io/v1"
    cluster = job["spec"]["rayClusterSpec"]
    [workers] = cluster["workerGroupSpecs"]
    for name, part in {
        "job": job["spec"],
        "cluster": cluster,
        "head": cluster["headGroupSpec"],
        "workers": workers,
    }.items():
        assert set(part) <= set(FIELDS[name].split()), name
    assert {"rayStartParams", "template"} <= set(cluster["headGroupSpec"]) & set(workers), "the API wants both"
    assert cluster["authOptions"] == {"mode": "token"}
    assert job["spec"]["shutdownAfterJobFinishes"] is True
    assert job["spec"]["backoffLimit"] > 0, "a lost node is not the end"
    assert "RAY_ADDRESS" not in str(job), "Ray sets it for the entrypoint"


def test_kuberay_has_the_locked_ray() -> None:
    locked = re.search(r"^ray==(\S+)", (ROOT / "requirements-gpu.txt").read_text(encoding="utf-8"), re.MULTILINE)
    assert documents()["RayJob"]["spec"]["rayClusterSpec"]["rayVersion"] == locked[1]


def test_kuberay_has_as_many_nodes_and_gpus_as_it_trains_on() -> None:
    spec = documents()["RayJob"]["spec"]
    entrypoint = re.fullmatch(r"make train PROFILE=([a-z0-9.-]+) NNODES=(\d+)", spec["entrypoint"])
    assert entrypoint and (ROOT / "reproduce" / f"{entrypoint[1]}.yaml").is_file()
    [workers] = spec["rayClusterSpec"]["workerGroupSpecs"]
    assert workers["replicas"] == workers["minReplicas"] == workers["maxReplicas"] == int(entrypoint[2]) - 1
    for pod in pods(spec["rayClusterSpec"]):
        [container] = pod["containers"]
        resources = container["resources"]
        assert resources["requests"] == resources["limits"], "verl's processes must not be moved or throttled"
        assert resources["limits"]["nvidia.com/gpu"] == gpus_a_node()


def test_kuberay_keeps_checkpoints_on_the_shared_volume() -> None:
    found = documents()
    claim = found["PersistentVolumeClaim"]
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    image = dockerfile[dockerfile.index(" AS gpu\n") :]
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    for pod in pods(found["RayJob"]["spec"]["rayClusterSpec"]):
        [container] = pod["containers"]
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        mounts = {mount["mountPath"]: volumes[mount["name"]] for mount in container["volumeMounts"]}
        environment = {entry["name"]: entry.get("value") for entry in container["env"]}
        assert mounts[environment["ENVTUNE_RUNS"]]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
        assert f"ENVTUNE_RUNS={environment['ENVTUNE_RUNS']}" in image, "a place that the image's user may write to"
        assert f"USER {pod['securityContext']['fsGroup']}:" in image
        assert "PATH=/workspace/envtune/.venv-gpu/bin:" in image, "KubeRay starts `ray` by its name alone"
        for name in ("ENVTUNE_CACHE", "HF_HOME"):
            assert environment[name].startswith(environment["ENVTUNE_RUNS"]), "fetched once for all nodes"
        assert mounts["/dev/shm"]["emptyDir"]["medium"] == "Memory"
        assert container["image"] == "envtune:gpu"
        for probe in ("livenessProbe", "readinessProbe"):
            assert container[probe]["httpGet"] == {"path": "/api/local_raylet_healthz", "port": 52365}


@pytest.mark.parametrize("path", [SLURM, KUBERAY], ids=lambda path: path.name)
def test_what_an_example_names_exists(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for name in re.findall(r"\b(?:reproduce/[\w.-]+|requirements-[\w-]+\.txt)", text):
        assert (ROOT / name.rstrip(".")).exists(), name
    for targets in re.findall(r"(?:^|[\s`])make((?: [a-z-]+)+) (?:PROFILE=|\"|\$)", text):
        for target in targets.split():
            assert re.search(rf"^(?:[a-z-]+ )*{target}(?: [a-z-]+)*:", makefile, re.MULTILINE), target
    for name in set(re.findall(r"\b(PROFILE|NNODES|ARM|SEED|DRY_RUN)=", text)):
        assert re.search(rf"\$[({{]{name}[)}}]", makefile), f"the Makefile has no variable {name}"
    for profile in re.findall(r"PROFILE=([a-z][\w.-]*)", text):
        assert (ROOT / "reproduce" / f"{profile.rstrip('.')}.yaml").is_file(), profile
