"""Stands in for ``python`` where a program should start from preloaded modules.

    python -IS preload_client.py SOCKET  SCRIPT | -m MODULE | -c CODE  [ARGUMENTS...]

It hands its arguments, environment, working directory and open files to the server of `envtune.training.preload`,
which forks a process that has the modules imported already and runs the program there. This process stays: it passes
signals on and ends as the program ends. Should it be killed, the server kills the program.

Only the standard library, and little of it: every process of a run starts through here.
"""

import json
import os
import signal
import socket
import struct
import sys

FORWARDED_SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


def main(socket_path: str, arguments: list[str]) -> int:
    """Runs the program; gives its exit code, negative for a signal."""
    files = [number for number in map(int, os.listdir("/proc/self/fd")) if _is_inherited(number)]
    request = {"arguments": arguments, "environment": dict(os.environ), "directory": os.getcwd(), "files": files}
    payload = json.dumps(request).encode()
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(socket_path)
        socket.send_fds(server, [struct.pack("!I", len(payload))], files)
        server.sendall(payload)
        answers = server.makefile()
        answer = answers.readline()
        if not answer:
            sys.exit("the process that preloads modules has ended; its log says why")
        pid = int(answer)
        for number in FORWARDED_SIGNALS:
            signal.signal(number, lambda received, _frame: os.kill(pid, received))
        status = answers.readline()
    if not status:
        sys.exit("the process that preloads modules has ended, and this program with it")
    return os.waitstatus_to_exitcode(int(status))


def _is_inherited(number: int) -> bool:
    try:
        return os.get_inheritable(number)
    except OSError:  # the directory that was just listed
        return False


if __name__ == "__main__":
    exit_code = main(sys.argv[1], sys.argv[2:])
    if exit_code < 0:
        signal.signal(-exit_code, signal.SIG_DFL)
        os.kill(os.getpid(), -exit_code)
    sys.exit(exit_code)
