"""The container image, built and run: `make test-image`.

It takes an engine that answers (DOCKER_HOST, else /var/run/docker.sock). Without one, and as root, it starts one of its
own from Debian's packages, and stops and removes it at the end. Otherwise it is skipped, and says why.

    ENVTUNE_TEST_BASE_IMAGE      what the cpu target is built on, instead of the Dockerfile's default. Without it, where
                                 the default cannot be pulled, one is made by debootstrap (as root), with the
                                 certificates and the pip settings of this machine: the Dockerfile knows of neither
    ENVTUNE_TEST_GPU_BASE_IMAGE  the same for the gpu target, for which none can be made
    ENVTUNE_TEST_GPU_BUILD=1     build all of the gpu target, flash-attn's hours included, not its system packages alone
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

if TYPE_CHECKING:
    import docker

pytestmark = [pytest.mark.image, pytest.mark.timeout(4 * 3600)]

ROOT = Path(__file__).parents[2]
SHORT = Path(__file__).with_name("short.yaml")
MOUNTED = "/workspace/envtune/reproduce/short.yaml"
TAG = "envtune:test-cpu"
GPU_TAG = "envtune:test-gpu"
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
# As compose.yaml has it.
CONFINED = {"shm_size": "8g", "init": True, "cap_drop": ["ALL"], "security_opt": ["no-new-privileges:true"]}
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass(frozen=True)
class Engine:
    """An engine that answers. host: its address; network: of builds and runs, "host" where it has no bridge."""

    client: docker.DockerClient
    host: str
    network: str


@dataclass(frozen=True)
class Run:
    """A container that has ended. output: stdout and stderr together."""

    code: int
    output: str
    seconds: float

    @property
    def tail(self) -> str:
        return f"exit code {self.code}\n" + "\n".join(self.output.splitlines()[-60:])


# ---- the engine


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """For everything temporary; short, since a socket lies in it."""
    made = Path(tempfile.mkdtemp(prefix="envtune-image-"))
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture(scope="module")
def engine(folder: Path) -> Iterator[Engine]:
    host = os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
    found = connect(host)
    if found is not None:
        print(f"engine at {host}")
        yield found
    elif os.geteuid() != 0 or shutil.which("apt-get") is None:
        pytest.skip(f"no Docker engine answers at {host}, and one is started here only as root on Debian or Ubuntu")
    else:
        with private_engine(folder) as own:
            yield own


def connect(host: str) -> Engine | None:
    import docker
    from docker.errors import DockerException

    if host.startswith("unix://") and not Path(host.removeprefix("unix://")).exists():
        return None
    try:
        client = docker.DockerClient(base_url=host, timeout=600)
        bridged = bool(client.networks.list(names=["bridge"]))
    except DockerException:
        return None
    return Engine(client, host, "bridge" if bridged else "host")


@contextlib.contextmanager
def private_engine(folder: Path) -> Iterator[Engine]:
    """dockerd from Debian's packages. Without a bridge, which needs rights that a sandbox lacks."""
    packages = {"dockerd": "docker.io", "iptables": "iptables"}
    install([package for program, package in packages.items() if shutil.which(program) is None])
    socket, pid_file, data = folder / "docker.sock", folder / "docker.pid", folder / "data"
    command = ["dockerd", "--data-root", data, "--exec-root", folder / "exec", "-H", f"unix://{socket}"]
    command += ["--pidfile", pid_file, "--iptables=false", "--ip6tables=false", "--bridge=none"]
    log = folder / "dockerd.log"
    with open(log, "wb") as output:
        process = subprocess.Popen(list(map(str, command)), stdout=output, stderr=output, start_new_session=True)
    try:
        deadline = time.monotonic() + 120
        while (found := connect(f"unix://{socket}")) is None:
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.skip(f"dockerd does not start here: {tail(log, 3)}")
            time.sleep(0.5)
        print(f"engine of its own in {folder}")
        yield found
    finally:
        stop(process, pid_file)
        mounts = [line.split()[1] for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines()]
        for mount in reversed([mount for mount in mounts if mount.startswith(f"{folder}/")]):
            subprocess.run(["umount", "--lazy", mount], check=False)


def stop(process: subprocess.Popen[bytes], pid_file: Path) -> None:
    """End dockerd, by its pid file where it wrote one; it ends its containerd itself."""
    with contextlib.suppress(OSError, ValueError):
        os.kill(int(pid_file.read_text(encoding="utf-8")), signal.SIGTERM)
    for sign in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(60)
            return
        process.send_signal(sign)
    process.wait(10)


def install(packages: list[str]) -> None:
    """Debian's packages, as root. One that cannot be had skips the tests."""
    if not packages:
        return
    print(f"installing {', '.join(packages)}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", *packages]):
        done = subprocess.run(["apt-get", *command], env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"{', '.join(packages)} cannot be installed: {done.stderr.strip().splitlines()[-1:]}")


def tail(log: Path, lines: int) -> str:
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])


# ---- base images


def default_base(name: str) -> str:
    return re.search(rf"^ARG {name}=(\S+)$", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)[1]


def pulled(engine: Engine, image: str) -> str:
    """Why the image is not there after an attempt to pull it; empty when it is."""
    from docker.errors import APIError, ImageNotFound

    try:
        engine.client.images.get(image)
    except ImageNotFound:
        try:
            engine.client.images.pull(image)
        except APIError as error:
            return str(error.explanation)
    return ""


@pytest.fixture(scope="module")
def base(engine: Engine, folder: Path) -> str:
    """What the cpu target is built on."""
    if named := os.environ.get("ENVTUNE_TEST_BASE_IMAGE"):
        return named
    default = default_base("CPU_BASE_IMAGE")
    problem = pulled(engine, default)
    if not problem:
        return default
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        pytest.skip(f"{default} cannot be pulled ({problem}), and only root on Debian or Ubuntu can make another")
    print(f"{default.partition('@')[0]} cannot be pulled ({problem}); making one with debootstrap")
    install([] if shutil.which("debootstrap") else ["debootstrap"])
    return debian(engine, folder)


def debian(engine: Engine, folder: Path) -> str:
    """A base image of Debian 12, made here, that reaches the network as this machine does."""
    root = folder / "base"
    asked = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Codename: bookworm"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    mirror = next(iter(asked.stdout.split()), "https://deb.debian.org/debian")
    command = ["debootstrap", "--variant=minbase", "--include=ca-certificates", "bookworm", str(root), mirror]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        pytest.skip(f"debootstrap did not make a base image: {done.stdout.strip().splitlines()[-1:]}")
    for certificate in Path("/usr/local/share/ca-certificates").glob("*.crt"):
        shutil.copy(certificate, root / "usr/local/share/ca-certificates")
    inside = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}  # TMPDIR and the like are this machine's
    subprocess.run(["chroot", root, "update-ca-certificates"], env=inside, check=True, capture_output=True)
    carry_pip_settings(root)
    archive = folder / "base.tar"
    subprocess.run(["tar", "-C", root, "-cf", archive, "."], check=True)
    trust = " ".join(f"{name}={CERTIFICATES}" for name in ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"))
    engine.client.api.import_image_from_file(
        str(archive), repository="envtune-test-base", tag="bookworm", changes=[f"ENV {trust}"]
    )
    archive.unlink()
    shutil.rmtree(root)
    return "envtune-test-base:bookworm"


def carry_pip_settings(root: Path) -> None:
    """Index and wheel folders that pip is set up with here, the folders themselves included, into root's pip.conf."""
    asked = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    ).stdout
    settings = dict(re.findall(r"^\S*?\.(index-url|find-links|trusted-host)='(.+)'$", asked, re.MULTILINE))
    for link in settings.get("find-links", "").split():
        if Path(link).is_dir():
            shutil.copytree(link, root / link.lstrip("/"), dirs_exist_ok=True)
    lines = [f"{name} = {value}" for name, value in settings.items()]
    (root / "etc/pip.conf").write_text("\n".join(["[global]", *lines, ""]), encoding="utf-8")


# ---- building and running


def command_line() -> str:
    """A `docker` that can use BuildKit, which the SDK cannot: with buildx, or before 23, when it was built in."""
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        program = shutil.which("docker", path=folder)
        if program is None:
            continue
        ask = [program, "version", "--format", "{{.Client.Version}}"]
        version = subprocess.run(ask, capture_output=True, text=True, check=False).stdout.strip()
        buildx = subprocess.run([program, "buildx", "version"], capture_output=True, check=False).returncode == 0
        if buildx or (version and int(version.partition(".")[0]) < 23):
            return program
    pytest.skip("no docker command here can use BuildKit: install docker-buildx beside it")


def build(engine: Engine, folder: Path, target: str, tag: str, arguments: Mapping[str, str]) -> float:
    """Build a target of the Dockerfile as it stands; the seconds that it took."""
    command = [command_line(), "build", "--progress", "plain", "--target", target, "--tag", tag]
    command += [part for name, value in arguments.items() for part in ("--build-arg", f"{name}={value}")]
    command += ["--network", "host", str(ROOT)] if engine.network == "host" else [str(ROOT)]
    environment = {**os.environ, "DOCKER_BUILDKIT": "1", "DOCKER_HOST": engine.host}
    log = folder / f"build-{target}.log"
    began = time.monotonic()
    with open(log, "wb") as output:
        done = subprocess.run(command, env=environment, stdout=output, stderr=output, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{tail(log, 60)}"
    return time.monotonic() - began


@pytest.fixture(scope="module")
def image(engine: Engine, base: str, folder: Path) -> str:
    """The cpu target, built for real."""
    seconds = build(engine, folder, "cpu", TAG, {"CPU_BASE_IMAGE": base, "COMMIT": COMMIT})
    size = engine.client.images.get(TAG).attrs["Size"]
    print(f"cpu image on {base.partition('@')[0]}: built in {seconds:.0f} s, {size / 1e9:.2f} GB")
    return TAG


@pytest.fixture(scope="module")
def volumes(engine: Engine) -> Iterator[dict[str, dict[str, str]]]:
    """Volumes over what a run writes to, and the shortened profile. A new volume takes the image's folder's owner."""
    made = {
        part: engine.client.volumes.create(f"envtune-test-{uuid.uuid4().hex}") for part in ("runs", "results", "cache")
    }
    yield {
        **{volume.name: {"bind": f"/data/{part}", "mode": "rw"} for part, volume in made.items()},
        str(SHORT): {"bind": MOUNTED, "mode": "ro"},
    }
    for volume in made.values():
        volume.remove(force=True)


def run(engine: Engine, image: str, command: list[str] | None, *, minutes: float = 5, **options: Any) -> Run:
    """A container from start to end, with its own user, and without a root's rights."""
    import requests

    began = time.monotonic()
    settings = {**CONFINED, "network_mode": engine.network, **options}
    container = engine.client.containers.run(image, command, detach=True, **settings)
    try:
        code = container.wait(timeout=minutes * 60)["StatusCode"]
    except (requests.ReadTimeout, requests.ConnectionError):
        code = -1
    try:
        return Run(code, container.logs().decode(errors="replace"), time.monotonic() - began)
    finally:
        container.remove(force=True)


# ---- the cpu image


def test_the_image_runs_make_reproduce_as_its_own_user(engine: Engine, image: str) -> None:
    config = engine.client.images.get(image).attrs["Config"]
    assert config["Cmd"] == ["make", "reproduce"] and not config["Entrypoint"]
    environment = dict(entry.split("=", 1) for entry in config["Env"])
    assert environment["PROFILE"] == "cpu" and environment["ENVTUNE_COMMIT"] == COMMIT
    assert config["Labels"]["org.opencontainers.image.revision"] == COMMIT
    done = run(engine, image, ["sh", "-c", "id -u; echo ~; touch /data/runs/a /data/results/a /data/cache/a ~/a"])
    assert done.code == 0 and done.output.split() == ["1000", "/home/envtune"], done.tail


def test_another_user_can_run_it_too(engine: Engine, image: str) -> None:
    """As `docker run --user` does for a folder of one's own: a user that the image's /etc/passwd does not know."""
    check = "import getpass, pathlib; print(getpass.getuser(), pathlib.Path.home())"
    look = f"python -c '{check}' && envtune --help > /data/runs/a && touch /data/cache/a ~/a /data/results/a"
    done = run(engine, image, ["sh", "-c", look], user="4321:4321")
    assert done.code == 0 and done.output.split() == ["envtune", "/home/envtune"], done.tail


def test_nothing_of_the_machine_that_built_it_is_in_the_image(engine: Engine, image: str) -> None:
    """Neither what .dockerignore keeps out, nor what was cached while it was built."""
    done = run(engine, image, ["ls", "-A", "/workspace/envtune", "/workspace/envtune/results", "/home/envtune/.cache"])
    assert done.code == 0, done.tail
    strangers = {".git", ".env", "compose.yaml", "cpu", "pip", "runs", "tests", "uv"}
    assert not strangers & set(done.output.split()), done.tail


def test_set_up_has_nothing_left_to_do(engine: Engine, image: str) -> None:
    """The environment was made before the code was copied, and still counts as made: no network is needed."""
    done = run(engine, image, ["make", "setup"], network_mode="none")
    assert done.code == 0 and done.output.strip() == "environment ready: .venv", done.tail


def test_the_doctor_finds_the_container_fit(engine: Engine, image: str, volumes: dict[str, dict[str, str]]) -> None:
    done = run(engine, image, ["envtune", "doctor", "--profile", "short"], volumes=volumes)
    print(f"envtune doctor: exit code {done.code}, {done.seconds:.0f} s\n" + done.output)
    assert done.code == 0, done.tail


def test_what_a_run_needs_is_fetched_beforehand(engine: Engine, image: str, volumes: dict[str, dict[str, str]]) -> None:
    done = run(engine, image, ["make", "data", "PROFILE=short"], minutes=20, volumes=volumes)
    print(f"make data PROFILE=short: exit code {done.code}, {done.seconds:.0f} s")
    assert done.code == 0, done.tail


def test_the_server_of_the_compose_file_becomes_healthy(
    engine: Engine, image: str, volumes: dict[str, dict[str, str]]
) -> None:
    """Its command and its health check, on the starting model, with the options that compose.yaml names for a CPU."""
    text = (ROOT / "compose.yaml").read_text(encoding="utf-8")
    service = yaml.safe_load(text)["services"]["server"]
    (options,) = re.findall(r"on a CPU (--dtype.*?)\n#   [A-Z]", text, re.DOTALL)
    began = time.monotonic()
    container = engine.client.containers.run(
        image, [part.replace("$$", "$") for part in service["command"]], detach=True, volumes=volumes,
        environment={"MODEL": "/data/runs/short/model", "SERVER_OPTIONS": re.sub(r"\s*#\s*", " ", options)},
        **{**CONFINED, "network_mode": "none"},
    )  # fmt: skip
    try:
        while container.status != "exited" and time.monotonic() < began + 600:
            if container.exec_run(service["healthcheck"]["test"][1:]).exit_code == 0:
                break
            time.sleep(2)
            container.reload()
        logs = container.logs().decode(errors="replace").splitlines()
        assert container.exec_run(service["healthcheck"]["test"][1:]).exit_code == 0, "\n".join(logs[-120:])
        print(f"the server is healthy after {time.monotonic() - began:.0f} s")
    finally:
        container.remove(force=True)


def test_a_shortened_run_ends_well_without_a_network_and_leaves_its_results_on_the_volumes(
    engine: Engine, image: str, volumes: dict[str, dict[str, str]]
) -> None:
    command = ["make", "reproduce", "PROFILE=short"]
    done = run(engine, image, command, minutes=60, volumes=volumes, network_mode="none")
    print(f"make reproduce PROFILE=short: exit code {done.code}, {done.seconds:.0f} s")
    assert done.code == 0, done.tail

    look = (
        "cat /data/runs/short/single/done.json; echo; wc -l < /data/runs/short/single/metrics.jsonl; "
        "head -1 /data/results/short/table1.md; find /data ! -user 1000"
    )
    found = run(engine, image, ["bash", "-euc", look], volumes=volumes, network_mode="none")
    assert found.code == 0, found.tail
    lines = found.output.rstrip().splitlines()
    end = next(at for at, line in enumerate(lines) if line.startswith("}"))
    assert json.loads("\n".join(lines[: end + 1])), found.tail
    assert int(lines[end + 1] or lines[end + 2]) >= 1, "metrics of a step"
    assert lines[-1].startswith("#") and "/data" not in lines[-1], f"only the user's own files: {found.tail}"


def test_a_second_run_does_nothing_again(engine: Engine, image: str, volumes: dict[str, dict[str, str]]) -> None:
    done = run(engine, image, ["make", "reproduce", "PROFILE=short"], volumes=volumes, network_mode="none")
    print(f"the same again: exit code {done.code}, {done.seconds:.0f} s\n" + done.output)
    assert done.code == 0 and done.seconds < 120, done.tail


# ---- the gpu image


def test_the_gpu_target_builds(engine: Engine, folder: Path) -> None:
    base = os.environ.get("ENVTUNE_TEST_GPU_BASE_IMAGE") or default_base("GPU_BASE_IMAGE")
    problem = pulled(engine, base)
    if problem:
        pytest.skip(
            f"its base image {base.partition('@')[0]} cannot be had here ({problem}); the lock is checked elsewhere"
        )
    whole = os.environ.get("ENVTUNE_TEST_GPU_BUILD") == "1"
    seconds = build(engine, folder, "gpu" if whole else "gpu-system", GPU_TAG, {"GPU_BASE_IMAGE": base})
    print(f"{'gpu' if whole else 'gpu-system'}: built in {seconds:.0f} s")
    look = "id -u 1000 || exit 1; python3 --version; nvcc --version"
    done = run(engine, GPU_TAG, ["sh", "-c", look])
    assert done.code == 0 and "Python 3.12" in done.output and "release 13.0" in done.output, done.tail
