"""Processes of a run: started together, and gone together.

verl starts Ray, and Ray and vLLM start more processes, some of which outlive a driver that is killed. All inherit a
variable that names the run's folder, by which they are found again.
"""

from __future__ import annotations

import contextlib
import fcntl
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

import psutil

from envtune.errors import EnvtuneError

_MARK = "ENVTUNE_RUN_DIR"
_LOCK = ".lock"


@contextlib.contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Raises EnvtuneError where another process trains in `folder`: each would kill the other's processes."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / _LOCK).open("a") as lock:  # not "w": a run that is done stays as it is
        try:
            _lock(lock)
        except BlockingIOError as error:
            raise EnvtuneError(f"{folder} is being trained by another process; wait for it, or end it") from error
        yield


def is_held(folder: Path) -> bool:
    """Whether a process trains in `folder` now, as `only_one` has it."""
    try:
        with (folder / _LOCK).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # no such file, or one that is not ours to read
        return False
    return False


def _lock(file: IO[str], patience_s: float = 1.0) -> None:
    """Lock the file; a lock of a moment, as `is_held` takes, is waited for. Raises BlockingIOError."""
    deadline = time.monotonic() + patience_s
    while True:
        try:
            return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


@contextlib.contextmanager
def marked(environment: Mapping[str, str], folder: Path) -> Iterator[dict[str, str]]:
    """Gives the environment for the processes of a run in `folder`.

    On entering, what a killed run in that folder left is killed; on leaving, also by an error, whatever this one left.
    """
    kill_marked(folder)
    try:
        yield {**environment, _MARK: str(folder)}
    finally:
        kill_marked(folder)


@contextlib.contextmanager
def watched(
    command: Sequence[str], environment: Mapping[str, str], log: IO[bytes], folder: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a command in `folder`, its output to `log`; it is ended when the block is left by an error."""
    process = subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        cwd=folder,
        start_new_session=True,  # an interrupt reaches us first, and we end it in order
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=20)
            process.kill()
        process.wait()


def kill_marked(folder: Path) -> int:
    """Kill every process that belongs to a run in `folder`; gives how many there were."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(_MARK) == str(folder):
                process.kill()
                found.append(process)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and any(map(_lives, found)):  # psutil's own wait would reap our children
        time.sleep(0.1)
    return len(found)


def _lives(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False
