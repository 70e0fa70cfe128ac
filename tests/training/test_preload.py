"""A preloaded ``python`` is a ``python``: same arguments, files, environment, exit codes and signals. Only faster."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from envtune.training.preload import preloaded


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "preload.log"


@pytest.fixture
def python(log: Path) -> Iterator[str]:
    with log.open("wb") as stream, preloaded(["json", "decimal"], os.environ, stream) as path:
        yield path


def run(python: str, *arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([python, *arguments], capture_output=True, text=True, timeout=60, check=False, **options)


def test_modules_are_there_and_the_interpreter_is_not_new(python: str) -> None:
    done = run(python, "-c", "import sys; print('decimal' in sys.modules, sys.executable)")
    assert done.stdout == f"True {sys.executable}\n"
    assert done.stderr == ""


def test_every_way_to_start_a_program(python: str, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("import sys, helper; print(__name__, sys.argv[1:], helper.VALUE)")
    (tmp_path / "helper.py").write_text("VALUE = 7")
    assert run(python, str(script), "a", "b").stdout == "__main__ ['a', 'b'] 7\n"
    assert run(python, "-u", str(script), "a").stdout == "__main__ ['a'] 7\n"
    assert run(python, "-c", "import sys; print(sys.argv)", "x").stdout == "['-c', 'x']\n"
    assert run(python, "-m", "script", "c", cwd=tmp_path).stdout == "__main__ ['c'] 7\n"


def test_environment_directory_and_files_are_the_callers(python: str, tmp_path: Path) -> None:
    read, write = os.pipe()
    try:
        done = run(
            python,
            "-c",
            f"import os, sys; os.write({write}, b'here'); print(os.environ['X'], os.getcwd(), sys.stdin.read())",
            env={"X": "1", "PATH": os.environ["PATH"]},
            cwd=tmp_path,
            input="words",
            pass_fds=[write],
        )
        assert done.stdout == f"1 {tmp_path} words\n"
        assert os.read(read, 10) == b"here"
    finally:
        os.close(read)
        os.close(write)


@pytest.mark.parametrize(
    ("code", "expected"),
    [("raise SystemExit(7)", 7), ("1 / 0", 1), ("import os; os.abort()", -signal.SIGABRT), ("pass", 0)],
)
def test_it_ends_as_the_program_does(python: str, code: str, expected: int) -> None:
    done = run(python, "-c", code)
    assert done.returncode == expected
    assert ("ZeroDivisionError" in done.stderr) == (code == "1 / 0")


def sleeping(python: str, tmp_path: Path) -> tuple[subprocess.Popen[bytes], psutil.Process]:
    said = tmp_path / "pid"
    process = subprocess.Popen(
        [python, "-c", f"import os, time; open({str(said)!r}, 'w').write(str(os.getpid()) + ' '); time.sleep(60)"]
    )
    while not (said.is_file() and said.read_text().endswith(" ")):
        time.sleep(0.02)
    return process, psutil.Process(int(said.read_text()))


def gone(process: psutil.Process) -> bool:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.02)
    return False


def test_signals_reach_the_program(python: str, tmp_path: Path) -> None:
    process, program = sleeping(python, tmp_path)
    process.terminate()
    assert process.wait(10) == -signal.SIGTERM
    assert gone(program)


def test_a_killed_caller_takes_the_program_along(python: str, tmp_path: Path) -> None:
    process, program = sleeping(python, tmp_path)
    process.kill()
    process.wait(10)
    assert gone(program)


def test_a_killed_server_takes_the_programs_along(python: str, tmp_path: Path) -> None:
    process, program = sleeping(python, tmp_path)
    program.parent().kill()
    assert gone(program)
    assert process.wait(10) == 1


def test_nothing_is_left_on_leaving(log: Path, tmp_path: Path) -> None:
    with log.open("wb") as stream, preloaded(["json"], os.environ, stream) as python:
        process, program = sleeping(python, tmp_path)
    assert gone(program)
    assert process.wait(10) != 0
    assert not Path(python).exists()


def test_what_multiprocessing_starts_is_preloaded_too(python: str, tmp_path: Path) -> None:
    script = tmp_path / "spawns.py"
    script.write_text(
        "import multiprocessing, sys\n"
        "def child(queue): queue.put('decimal' in sys.modules)\n"
        "if __name__ == '__main__':\n"
        "    context = multiprocessing.get_context('spawn')\n"
        "    queue = context.SimpleQueue()\n"
        "    process = context.Process(target=child, args=(queue,))\n"
        "    process.start(); print(queue.get()); process.join(); print(process.exitcode)\n"
    )
    assert run(python, str(script)).stdout == "True\n0\n"


def test_programs_do_not_share_random_numbers(log: Path) -> None:
    with log.open("wb") as stream, preloaded(["numpy"], os.environ, stream) as python:
        drawn = {
            run(python, "-c", "import numpy, random; print(numpy.random.rand(), random.random())").stdout
            for _ in range(2)
        }
    assert len(drawn) == 2


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ("import threading, time; threading.Thread(target=time.sleep, args=(30,), daemon=True).start()", "1 threads"),
        ("import ray", "imports ray"),
        ("import there_is_no_such_module", "no_such_module"),
    ],
)
def test_what_must_not_be_shared_is_refused(log: Path, tmp_path: Path, body: str, complaint: str) -> None:
    (tmp_path / "unfit.py").write_text(body)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    with log.open("wb") as stream, preloaded(["unfit"], environment, stream) as python:
        assert run(python, "-c", "print('ran')").stdout == ""
    assert complaint in log.read_text()


def test_without_modules_it_is_this_interpreter(log: Path) -> None:
    with log.open("wb") as stream, preloaded([], os.environ, stream) as python:
        assert python == sys.executable
