"""Start-up time: processes that begin with their modules imported.

A verl run starts some ten processes one after another, and each imports torch, transformers, Ray, verl and vLLM before
it does anything: 10 to 15 seconds of CPU time every time. Here one process imports them once and forks each of the
others, which costs milliseconds and shares the memory. verl and Ray need no change: both let one name the command
that stands for ``python`` (Ray's runtime environment ``py_executable``, a setting of verl's configuration), and
`preloaded` gives such a command. What such a process starts through ``multiprocessing`` (vLLM's engine) begins so as well.

    with preloaded(["torch", "transformers"], os.environ, log) as python:
        subprocess.run([python, "-m", "verl.trainer.main_ppo", ...])

Forking is safe while there is one thread, so a module that starts a thread when imported is refused. So is Ray: it
reads its job's number from the environment when it is imported, and each process imports it (a second) for itself.
CUDA must not have been initialised either, which nobody has tried here: the GPU profile preloads nothing.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import multiprocessing
import os
import runpy
import selectors
import shlex
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from envtune.errors import EnvtuneError

_MAX_FILES = 250  # SCM_MAX_FD is 253
_PR_SET_PDEATHSIG = 1
_PARKED = 1 << 12  # received files are kept above this number until the program's own numbers are free
_WITHOUT_THREADS = {  # libraries that start one when they are loaded, and how each is told not to
    "OPENBLAS_NUM_THREADS": "1",  # numpy
    "JE_ARROW_MALLOC_CONF": "background_thread:false",  # pyarrow
}
_CLIENT = Path(__file__).with_name("preload_client.py")


@contextmanager
def preloaded(modules: Sequence[str], environment: Mapping[str, str], log: IO[bytes]) -> Iterator[str]:
    """Imports the modules in a process of their own and gives the path of a ``python`` that starts programs from it.

    The command can be used at once: a program waits until the modules are there. No modules: the command is this
    interpreter, and nothing is started. On leaving, every program that was started through the command is killed.

    environment: of the imports; the programs' own should not differ in what is read during them. Where a module cannot
    be imported, or starts a thread, the server says so in `log` and ends, and the programs fail.
    """
    if not modules:
        yield sys.executable
        return
    with tempfile.TemporaryDirectory(prefix="envtune-preload-") as directory:
        socket_path = f"{directory}/socket"
        python = Path(directory, "python")
        python.write_text(f'#!/bin/sh\nexec {shlex.join([sys.executable, "-IS", str(_CLIENT), socket_path])} "$@"\n')
        python.chmod(0o700)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(socket_path)
            listener.listen(128)
            server = subprocess.Popen(
                [sys.executable, "-P", "-m", "envtune.training.preload", str(listener.fileno()), python, *modules],
                stdin=subprocess.PIPE,
                pass_fds=[listener.fileno()],
                stdout=log,
                stderr=log,
                env={**environment, **_WITHOUT_THREADS},
                start_new_session=True,  # an interrupt reaches us first, and we end it in order
            )
        with server:
            try:
                yield str(python)
            finally:
                server.stdin.close()
                server.wait()


@dataclass(frozen=True)
class Program:
    """What a client asked for: ``arguments`` as after ``python``, and its environment, directory and open files."""

    arguments: list[str]
    environment: dict[str, str]
    directory: str
    files: dict[int, int]  # the program's number -> ours

    def take_over(self) -> None:
        """Makes this process look as if it had been started for the program, and die with the server."""
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        os.setsid()
        parked = {number: _park(ours) for number, ours in self.files.items()}
        for number, ours in parked.items():
            os.dup2(ours, number)
            os.close(ours)
        os.chdir(self.directory)
        os.environ.clear()
        os.environ.update(self.environment)
        _read_environment_again()

    def run(self) -> None:
        """Runs it as ``python`` would. Returns or raises as the program does."""
        kind, *rest = self.arguments
        while kind in ("-u", "-B", "-s", "-E", "-P", "-I"):
            kind, *rest = rest
        if kind == "-m":
            sys.argv = rest
            sys.path.insert(0, os.getcwd())
            runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
        elif kind == "-c":
            sys.argv = ["-c", *rest[1:]]
            sys.path.insert(0, "")
            exec(compile(rest[0], "<string>", "exec"), sys.modules["__main__"].__dict__)  # noqa: S102 - multiprocessing's own code
        else:
            sys.argv = [kind, *rest]
            sys.path.insert(0, str(Path(kind).resolve().parent))
            runpy.run_path(kind, run_name="__main__")


def _read_environment_again() -> None:
    """For the libraries that read variables, or drew randomness, when they were imported."""
    if "torch" in sys.modules and os.environ.get("OMP_NUM_THREADS"):
        sys.modules["torch"].set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()  # else every program would draw the same numbers


def serve(listener: socket.socket) -> Program | None:
    """Forks a process for each program that is asked for.

    Returns None when standard input ends, after killing what still runs. In a forked process it returns the program
    that this process is to run.
    """
    running: dict[int, tuple[int, socket.socket]] = {}  # pidfd -> (pid, client)
    with listener, selectors.DefaultSelector() as events:
        events.register(sys.stdin.fileno(), selectors.EVENT_READ, "stop")
        events.register(listener, selectors.EVENT_READ, "start")
        while True:
            for key, _ in events.select():
                if key.data == "stop":
                    for pid, _client in running.values():
                        os.kill(pid, signal.SIGKILL)
                    return None
                if key.data == "start":
                    client, _ = listener.accept()
                    program = _receive(client)
                    if program is None:
                        client.close()
                        continue
                    pid = os.fork()
                    if pid == 0:
                        for pidfd, (_pid, other) in running.items():
                            os.close(pidfd)
                            other.close()
                        client.close()
                        return program
                    for ours in program.files.values():
                        os.close(ours)
                    pidfd = os.pidfd_open(pid)
                    running[pidfd] = (pid, client)
                    events.register(pidfd, selectors.EVENT_READ, "ended")
                    events.register(client, selectors.EVENT_READ, pidfd)
                    _tell(client, pid)
                elif key.data == "ended":
                    pid, client = running.pop(key.fd)
                    events.unregister(key.fd)
                    os.close(key.fd)
                    _tell(client, os.waitpid(pid, 0)[1])
                    if client.fileno() in events.get_map():
                        events.unregister(client)
                    client.close()
                elif key.data in running:  # a client says nothing after its request: it has ended
                    events.unregister(key.fileobj)
                    os.kill(running[key.data][0], signal.SIGKILL)


def _receive(client: socket.socket) -> Program | None:
    """A client's request; None when it was killed before it had made one."""
    try:
        header, ours, _, _ = socket.recv_fds(client, 4, _MAX_FILES)
    except ConnectionResetError:
        return None
    if len(header) < 4:
        return None
    (length,) = struct.unpack("!I", header)
    request = json.loads(client.makefile("rb").read(length))
    return Program(
        arguments=request["arguments"],
        environment=request["environment"],
        directory=request["directory"],
        files=dict(zip(request["files"], ours, strict=True)),
    )


def _tell(client: socket.socket, number: int) -> None:
    try:
        client.sendall(b"%d\n" % number)
    except (BrokenPipeError, ConnectionResetError):
        return  # it was killed; its program is, as soon as that is seen


def _park(number: int) -> int:
    import fcntl

    parked = fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, _PARKED)
    os.close(number)
    return parked


def main(listener: int, modules: Sequence[str]) -> Program | None:
    """Imports the modules, then serves the socket with that number. See `serve` for what it returns."""
    for module in modules:
        importlib.import_module(module)
        threads = len(os.listdir("/proc/self/task"))
        if threads > 1:
            raise EnvtuneError(f"importing {module} started {threads - 1} threads: it cannot be preloaded")
        if "ray" in sys.modules:
            raise EnvtuneError(f"importing {module} imports ray, which is for each process to import: leave it out")
    gc.collect()
    gc.freeze()  # a later collection would write to, and so copy, every page that is shared
    return serve(socket.socket(fileno=listener))


if __name__ == "__main__":
    listener, python, *modules = sys.argv[1:]
    program = main(int(listener), modules)
    if program is not None:
        multiprocessing.set_executable(python)
        program.take_over()
        program.run()
