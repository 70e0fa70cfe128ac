"""The process in which bfcl-eval's own checker runs. Started by `judge.py`; the standard library and mpmath only.

    python -I judge_worker.py FOLDER_ABOVE_THE_PACKAGE API_CLASS...

A job comes in as one JSON line, {"entry", "turns", "ground_truth", "seconds"}, and one line goes back, {"verdict"} or
{"error", "fault"}. Each job is judged in a fork of its own: upstream keeps API objects in module globals and some of
them change shared tables, so nothing of one entry may be left when the next one is judged.
"""

import importlib
import json
import os
import resource
import signal
import sys
from collections.abc import Callable

_MEMORY = 4 << 30  # bytes of address space, for what the environment's limits might have let through
_MODULE = "bfcl_eval.eval_checker.multi_turn_eval"


def main(folder: str, class_names: list[str]) -> None:
    """Answer jobs from stdin until it closes. `class_names` are imported before forking, to save it in each fork."""
    sys.path.insert(0, folder)
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever upstream prints must not come between the answers
    check = importlib.import_module(f"{_MODULE}.multi_turn_checker").multi_turn_checker
    modules = importlib.import_module(f"{_MODULE}.multi_turn_utils").CLASS_FILE_PATH_MAPPING
    for name in class_names:
        importlib.import_module(modules[name])
    answers.write('{"ready": true}\n')
    answers.flush()
    for line in sys.stdin:
        answers.write(_in_a_fork(check, json.loads(line)) + "\n")
        answers.flush()


def _in_a_fork(check: Callable[..., dict], job: dict) -> str:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        signal.alarm(job["seconds"])  # its default action ends the process whatever it is busy with
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
        _write_all(writing, _answer(check, job).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        answer = stream.read()
    _, status = os.waitpid(child, 0)
    if status:
        code = os.waitstatus_to_exitcode(status)
        return json.dumps({"error": f"the checker's process ended with {code}", "fault": "worker"})
    return answer.decode()


def _answer(check: Callable[..., dict], job: dict) -> str:
    entry = job["entry"]
    try:
        verdict = check(job["turns"], job["ground_truth"], entry, entry["id"].rsplit("_", 1)[0], "judge")
    except Exception as error:  # noqa: BLE001 - upstream's code on a model's calls: what it raises is the answer
        return json.dumps({"error": f"{type(error).__name__}: {error}"[:300], "fault": "calls"})
    kept = {key: verdict.get(key) for key in ("valid", "error_type", "error_message")}
    return json.dumps({"verdict": kept})


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
