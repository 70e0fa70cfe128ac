"""What one check says, and how checks are run: all at once, none longer than the doctor's time, none raising."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

_SECRET = re.compile(r"TOKEN|KEY|SECRET|PASSW|CREDENTIAL", re.IGNORECASE)
_SHORTEST_SECRET = 6  # characters; "none" or "1" would blot out innocent text
_IN_ADDRESS = re.compile(r"(?<=://)[^/\s@]+@")  # user and password, as indexes and proxies have them


class Status(StrEnum):
    """How a check ended. A warning does not stop a run; a failed check means that it would fail, or hang."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    NOT_APPLICABLE = "not applicable"


@dataclass(frozen=True)
class Outcome:
    """What a probe says. found: what there is; do: what to do about it, empty when there is nothing to do."""

    status: Status
    found: str
    do: str = ""


@dataclass(frozen=True)
class Check:
    """One line of the report: a probe's outcome under its group and name."""

    group: str
    name: str
    status: Status
    found: str
    do: str = ""


@dataclass(frozen=True)
class Probe:
    """A check that has not been made. look: makes it; what it raises is reported as a failed check."""

    group: str
    name: str
    look: Callable[[], Outcome]


def ok(found: str) -> Outcome:
    """All is well."""
    return Outcome(Status.OK, found)


def warning(found: str, do: str) -> Outcome:
    """The run is possible, yet slower, less traceable or less certain."""
    return Outcome(Status.WARNING, found, do)


def failed(found: str, do: str) -> Outcome:
    """The run would fail or hang."""
    return Outcome(Status.FAILED, found, do)


def not_applicable(found: str) -> Outcome:
    """Nothing that this profile, or this machine, needs."""
    return Outcome(Status.NOT_APPLICABLE, found)


def run_probes(probes: Sequence[Probe], seconds: float, environment: Mapping[str, str]) -> list[Check]:
    """The checks, in the probes' order, after at most `seconds`.

    environment: values of its secret variables are blotted out of every text. A probe that has not answered by then is
    a failed check; its thread is a daemon, so that a call that never returns (a dead mount, a hung driver) cannot keep
    the process.
    """
    outcomes: dict[int, Outcome] = {}

    def look(index: int, probe: Probe) -> None:
        try:
            outcomes[index] = probe.look()
        except ModuleNotFoundError as error:
            outcomes[index] = failed(f"{error.name} is not installed", "this environment is not complete: make setup")
        except Exception as error:  # noqa: BLE001 - the doctor's one boundary: a check that breaks is itself a finding
            text = " ".join(str(error).split())
            outcomes[index] = failed(
                f"the check broke off: {type(error).__name__}: {text}", "see the message; report it if it is no help"
            )

    threads = [
        threading.Thread(target=look, args=(index, probe), daemon=True, name=f"doctor: {probe.name}")
        for index, probe in enumerate(probes)
    ]
    deadline = time.monotonic() + seconds
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    late = failed(
        f"no answer within {seconds:.0f} s", "something hangs (a dead mount, a driver, a name server), or run it again"
    )
    ended = [outcomes.get(index, late) for index in range(len(probes))]
    return [
        Check(
            probe.group,
            probe.name,
            one.status,
            without_secrets(one.found, environment),
            without_secrets(one.do, environment),
        )
        for probe, one in zip(probes, ended, strict=True)
    ]


def holds_secret(name: str) -> bool:
    """Whether a variable of this name holds a secret, or where one lies."""
    return _SECRET.search(name) is not None


def without_secrets(text: str, environment: Mapping[str, str]) -> str:
    """`text` without the values of variables that by their names hold secrets, and without passwords in addresses."""
    for name, value in environment.items():
        if holds_secret(name) and len(value) >= _SHORTEST_SECRET:
            text = text.replace(value, "***")
    return _IN_ADDRESS.sub("***@", text)


@dataclass(frozen=True)
class Answer:
    """What a command said. code: its exit status; None where it is not installed or took too long (`problem` says)."""

    code: int | None
    out: str = ""
    err: str = ""
    problem: str = ""

    @property
    def reason(self) -> str:
        """Why it failed, in one line: the problem, or the last line of what it wrote."""
        lines = (self.err.strip() or self.out.strip()).splitlines()
        return self.problem or (lines[-1].strip() if lines else f"exit status {self.code}")


def ask(command: Sequence[str], seconds: float, environment: Mapping[str, str]) -> Answer:
    """Run a command for at most `seconds`; it and its children are killed after that. Never raises for what it does."""
    try:
        process = subprocess.Popen(
            command,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,  # a group of its own, to be killed whole
        )
    except OSError as error:
        return Answer(None, problem=f"{command[0]} cannot be run: {error.strerror}")
    try:
        out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
        return Answer(None, out, err, f"{os.path.basename(command[0])} took longer than {seconds:.0f} s")
    return Answer(process.returncode, out, err)
