"""Makes the environment that everything else runs in: a virtual environment with exactly the locked packages.

`make setup` runs it, before anything is installed, so it uses the standard library alone:

    python3.11 -I envtune/bootstrap.py --profile cpu --venv .venv --stamp .venv/.setup-KEY

Every package comes with a hash from requirements-<profile>.txt; torch's CPU build, which is not on PyPI, from
requirements-torch-cpu.txt. The stamp is written last: without it the next call goes over the steps again, and each
of them leaves alone what is already there. After a kill in the middle of installing it starts from nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"
TORCH_LOCK = "requirements-torch-cpu.txt"
# Needed before the rest: uv installs it, setuptools builds those that have only a source release, and envtune.
FIRST = ("uv", "setuptools")
# Built from source against an installed torch, with nvcc: last.
LAST = ("flash-attn",)


# Not ".lock": uv takes a lock of that name in the same folder, and would wait for this one.
LOCK = ".bootstrap.lock"
# There while packages are being installed. Still there at the start of a call: the last one was killed in between.
INSTALLING = ".installing"


class SetupError(Exception):
    """Set-up cannot go on; the message says what is wrong and what to do."""


def main(arguments: list[str] | None = None) -> int:
    """Run the steps; 0, or 1 with one message on stderr."""
    parser = argparse.ArgumentParser(description="Make the virtual environment of one profile.")
    parser.add_argument("--profile", choices=("cpu", "gpu", "eval", "verifiers", "openenv"), required=True)
    parser.add_argument("--venv", type=Path, required=True)
    parser.add_argument("--stamp", type=Path, required=True, help="written when all is done")
    options = parser.parse_args(arguments)
    try:
        with _only_one(options.venv):
            if not options.stamp.exists():  # another set-up may have finished while this one waited
                set_up(options.profile, options.venv.absolute(), options.stamp)
    except SetupError as error:
        print(f"set-up failed: {error}", file=sys.stderr)
        return 1
    return 0


def set_up(profile: str, venv: Path, stamp: Path) -> None:
    """All steps for one profile into `venv`; writes `stamp` last and removes the stamps of other locks."""
    lock = (ROOT / f"requirements-{profile}.txt").read_text(encoding="utf-8")
    python = venv / "bin" / "python"
    steps = [
        (f"virtual environment in {venv.name}", lambda: make_venv(venv)),
        ("uv and setuptools", lambda: _pip(python, select(lock, only=FIRST))),
        *([("torch (CPU build)", lambda: install_torch(python))] if profile in ("cpu", "eval") else []),
        ("locked packages", lambda: _uv(python, select(lock, leave_out=LAST))),
        *([("flash-attn (a long build)", lambda: install_flash_attn(python, lock))] if profile == "gpu" else []),
        ("envtune itself", lambda: _uv(python, None, "-e", str(ROOT))),
        *([("bytecode", lambda: compile_bytecode(python))] if profile in ("cpu", "gpu", "eval") else []),
    ]
    began = time.monotonic()
    for number, (what, step) in enumerate(steps, 1):
        print(f"[setup {number}/{len(steps)}, {time.monotonic() - began:.0f} s] {what}", flush=True)
        step()
    for old in venv.glob(".setup-*"):
        old.unlink()
    stamp.touch()
    print(f"[setup] done in {time.monotonic() - began:.0f} s: {venv}", flush=True)


def make_venv(venv: Path) -> None:
    """A virtual environment of this interpreter in `venv`, unless a sound one of a supported Python is there."""
    if _is_sound(venv):
        return
    for entry in venv.iterdir():
        if entry.name != LOCK:
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
    _run([sys.executable, "-m", "venv", venv], "the message above tells; on Debian and Ubuntu install python3-venv")


def _is_sound(venv: Path) -> bool:
    """Whether it was made at this path (scripts name it), was not killed while installing, and starts."""
    python, made = venv / "bin" / "python", venv / "pyvenv.cfg"
    if not python.exists() or not made.exists() or (venv / INSTALLING).exists():
        return False
    if str(venv) not in made.read_text(encoding="utf-8"):
        return False
    check = "import pip, sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))"
    return subprocess.run([python, "-c", check], stderr=subprocess.DEVNULL, check=False).returncode == 0


def install_torch(python: Path) -> None:
    """torch's CPU build: from where pip looks on this machine, else from PyTorch's own index."""
    text = (ROOT / TORCH_LOCK).read_text(encoding="utf-8")
    wanted = re.search(r"^torch==(\S+)", text, re.MULTILINE)[1]
    version = "from importlib.metadata import version; print(version('torch'))"
    have = subprocess.run([python, "-c", version], capture_output=True, text=True, check=False)
    if have.stdout.strip() == wanted:
        return
    try:
        _pip(python, text, quiet=True)
    except SetupError:
        print(f"pip does not find torch {wanted} as it is set up here; asking {TORCH_CPU_INDEX}", flush=True)
        try:
            _pip(python, text, "--index-url", TORCH_CPU_INDEX)
        except SetupError as error:
            raise SetupError(
                f"torch {wanted} is neither where pip looks on this machine nor to be had from {TORCH_CPU_INDEX}. "
                f"Without access to that index, put its wheel into a folder and set PIP_FIND_LINKS to the folder."
            ) from error


def install_flash_attn(python: Path, lock: str) -> None:
    """flash-attn against the torch just installed; its build needs CUDA's compiler."""
    if shutil.which("nvcc") is None and "CUDA_HOME" not in os.environ:
        raise SetupError(
            "flash-attn is compiled here and needs nvcc of CUDA 13 (the CUDA toolkit). Install it and put it on PATH or "
            "set CUDA_HOME; the rest of the environment is ready, and `make setup` goes on from here."
        )
    _uv(python, select(lock, only=LAST))


def compile_bytecode(python: Path) -> None:
    """Compile what is installed, once, so that none of the some twenty processes of a training run has to.

    A few packages ship templates and files for other Pythons that do not compile; those are left as they are.
    """
    site = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        check=True, capture_output=True, text=True,
    ).stdout.strip()  # fmt: skip
    subprocess.run(
        [python, "-m", "compileall", "-q", "-q", "-j", "0", "-x", r"/tests?/", site],
        env=_environment(), stdout=subprocess.DEVNULL, check=False,
    )  # fmt: skip


def select(lock: str, only: Iterable[str] = (), leave_out: Iterable[str] = ()) -> str:
    """The entries of a lock (each with its hashes) for the packages named in `only`, or all but those in `leave_out`."""
    entries = re.findall(r"^[A-Za-z0-9].*(?:\n[ \t]+--hash=.*)*", lock, re.MULTILINE)
    named = {re.match(r"[A-Za-z0-9._-]+", entry)[0]: entry for entry in entries}
    if missing := set(only) - set(named):
        raise SetupError(f"the lock has no entry for {', '.join(sorted(missing))}; `make lock` writes it anew")
    chosen = set(only) or set(named) - set(leave_out)
    return "".join(f"{entry}\n" for name, entry in named.items() if name in chosen)


def _pip(python: Path, requirements: str, *options: str, quiet: bool = False) -> None:
    command = [
        python,
        "-I",
        "-m",
        "pip",
        "install",
        "--no-input",
        "--disable-pip-version-check",
        "--progress-bar",
        "off",
    ]
    command += ["--no-compile", "--no-deps", "--require-hashes", *options]
    with _file(requirements) as path:
        _install([*command, "-r", path], python, "pip's message above tells what it could not get", quiet=quiet)


def _uv(python: Path, requirements: str | None, *options: str) -> None:
    command = [
        python.with_name("uv"),
        "pip",
        "install",
        "--python",
        python,
        "--no-deps",
        "--no-build-isolation",
        *options,
    ]
    advice = "uv's message above tells what it could not get; run `make setup` again, it goes on from here"
    with _file(requirements or "") as path:
        locked = ["--require-hashes", "-r", path] if requirements else []
        _install([*command, *locked], python, advice, env=_uv_environment(python))


def _install(command: list, python: Path, advice: str, env: dict[str, str] | None = None, quiet: bool = False) -> None:
    """Run an installer. The mark stays when this process is killed: packages may then be there in part."""
    mark = python.parent.parent / INSTALLING
    mark.touch()
    try:
        _run(command, advice, env, quiet)
    except SetupError:  # an installer that gives up leaves whole packages
        mark.unlink()
        raise
    mark.unlink()


def _uv_environment(python: Path) -> dict[str, str]:
    """The environment for uv, which does not read pip's settings: it gets the index that pip is set up with."""
    environment = _environment()
    asked = subprocess.run(
        [python, "-m", "pip", "config", "list"], env=environment, capture_output=True, text=True, check=False
    )
    index = re.search(r"^\S*index[-_]url='(.+)'$", re.sub(r"(?m)^.*extra.*\n?", "", asked.stdout), re.MULTILINE)
    if index and not {"UV_DEFAULT_INDEX", "UV_INDEX_URL"} & set(environment):
        environment["UV_DEFAULT_INDEX"] = index[1]
    return environment


def _environment() -> dict[str, str]:
    """This process's environment without what would keep bytecode from being written or name another environment."""
    left_out = {"PYTHONDONTWRITEBYTECODE", "PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV"}
    return {name: value for name, value in os.environ.items() if name not in left_out}


def _run(command: list, advice: str, env: dict[str, str] | None = None, quiet: bool = False) -> None:
    errors = subprocess.DEVNULL if quiet else None
    code = subprocess.run(list(map(str, command)), env=env or _environment(), cwd=ROOT, stderr=errors, check=False)
    if code.returncode:
        raise SetupError(f"`{' '.join(map(str, command[:6]))} ...` ended with {code.returncode}; {advice}")


@contextlib.contextmanager
def _file(text: str) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "requirements.txt"
        path.write_text(text, encoding="utf-8")
        yield str(path)


@contextlib.contextmanager
def _only_one(venv: Path) -> Iterator[None]:
    """Two `make` calls at once: the second waits for the first."""
    venv.mkdir(parents=True, exist_ok=True)
    with open(venv / LOCK, "w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"waiting for another set-up of {venv}", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    sys.exit(main())
