"""Whether this machine can run a profile, said before hours are spent: `envtune doctor --profile NAME`.

check.py     what a check says; runs them, none longer than the doctor's time      needs.py   what a profile needs
gpu.py       GPUs, driver, what torch finds        machine.py, cgroup.py   cores, memory, /dev/shm, limits
storage.py   disk, folders, Ray's socket path      network.py   local ports, names, the cluster of RAY_ADDRESS
software.py  Python, packages, bytecode, commit    sources.py   the starting model and BFCL
report.py    the table and the JSON

A probe takes what it looks at as arguments and returns an outcome: ok, warning, failed or not applicable, with what was
found and what to do. Nothing here imports torch: what needs it is asked in a process of its own.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from envtune.doctor import gpu, machine, network, software, sources, storage
from envtune.doctor.check import Check, Outcome, Probe, not_applicable, run_probes
from envtune.doctor.needs import DiskNeed, Needs, ask_disk_need, needs_of

if TYPE_CHECKING:
    from envtune.profile import Profile

# All probes run at once. The longest that one command or connection may take, and then the whole.
_TORCH, _NVIDIA_SMI, _NETWORK, _WHOLE = 14.0, 4.0, 5.0, 17.0

Found = TypeVar("Found")


def examine(
    profile: Profile, asked_as: str, nodes: int | None = None, environ: Mapping[str, str] = os.environ
) -> list[Check]:
    """All checks of a profile, in the report's order, after 17 seconds at the most.

    asked_as: the name or path that `load_profile` was given; nodes: how many there will be, the profile's number by
    default; environ: variables, to which the profile's are added. Raises EnvtuneError for an ill-formed setting.
    """
    needs = needs_of(profile)
    if nodes is not None:
        needs = replace(needs, nodes=nodes)
    environment = {**environ, **profile.environment}
    probes = [
        *_gpu_probes(needs, environment),
        *_machine_probes(needs, environment),
        *_storage_probes(profile, asked_as, environment),
        *_network_probes(needs, environment),
        *_software_probes(needs, environment),
        Probe("sources", "starting model", lambda: sources.model(profile, environment, _NETWORK)),
        Probe("sources", f"BFCL ({profile.release})", lambda: sources.bfcl(profile.release, environment, _NETWORK)),
    ]
    return run_probes(probes, _WHOLE, environment)


def _gpu_probes(needs: Needs, environment: Mapping[str, str]) -> list[Probe]:
    seen = _once(lambda: gpu.survey(environment, _NVIDIA_SMI))
    looks: dict[str, Callable[[], Outcome]] = {
        "number": lambda: gpu.number(needs, seen()),
        "memory": lambda: gpu.gpu_memory(needs, seen()),
        "other processes": lambda: gpu.occupied(needs, seen()),
        "driver": lambda: gpu.driver(seen()),
        "compute capability": lambda: gpu.capability(seen()),
        "torch": lambda: gpu.torch_sees(needs, environment, _TORCH),
    }
    if not needs.gpus:
        return [Probe("GPUs", "GPUs", lambda: not_applicable("the profile runs on the CPU"))]
    return [Probe("GPUs", name, look) for name, look in looks.items()]


def _machine_probes(needs: Needs, environment: Mapping[str, str]) -> list[Probe]:
    return [
        Probe("machine", "processor", lambda: machine.processor(needs)),
        Probe("machine", "memory", lambda: machine.memory(needs)),
        Probe("machine", "shared memory", lambda: machine.shared_memory(needs, environment)),
        Probe("machine", "open files", lambda: machine.open_files(needs)),
        Probe("machine", "processes", lambda: machine.processes(needs)),
    ]


def _storage_probes(profile: Profile, asked_as: str, environment: Mapping[str, str]) -> list[Probe]:
    need: Callable[[], DiskNeed] = _once(lambda: ask_disk_need(asked_as, environment, _TORCH))
    places = _once(lambda: storage.places(profile, need(), environment))
    return [
        *(
            Probe("disk", name, functools.partial(lambda one: storage.disk(one, places(), need().reason), name))
            for name in storage.PLACES
        ),
        Probe("disk", "/tmp", lambda: storage.writable([Path("/tmp")])),
        Probe("disk", "socket path", lambda: storage.socket_path(environment)),
    ]


def _network_probes(needs: Needs, environment: Mapping[str, str]) -> list[Probe]:
    return [
        Probe("network", "local ports", lambda: network.loopback(_NETWORK)),
        Probe("network", "names", network.names),
        Probe("network", "Ray cluster", lambda: network.ray_cluster(needs, environment, _NETWORK)),
    ]


def _software_probes(needs: Needs, environment: Mapping[str, str]) -> list[Probe]:
    return [
        Probe("software", "Python", software.python_version),
        Probe("software", "packages", lambda: software.packages(needs.extra)),
        Probe("software", "bytecode, allowed", lambda: software.bytecode_allowed(environment)),
        Probe("software", "bytecode, there", software.bytecode_there),
        Probe("software", "commit", software.commit),
    ]


def _once(ask: Callable[[], Found]) -> Callable[[], Found]:
    """What `ask` gives, asked once for all the threads that want it (functools.cache would ask for each)."""
    lock, answers = threading.Lock(), []

    def answer() -> Found:
        with lock:
            if not answers:
                answers.append(ask())
            return answers[0]

    return answer
