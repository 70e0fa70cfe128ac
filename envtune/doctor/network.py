"""Sockets and names on this machine, and the Ray cluster that RAY_ADDRESS names."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping

from envtune.doctor.check import Outcome, failed, not_applicable, ok, warning
from envtune.doctor.needs import Needs

_GCS_PORT = 6379  # Ray's default


def loopback(seconds: float, address: str = "127.0.0.1") -> Outcome:
    """Whether a port can be opened here and reached: Ray, vLLM and torch.distributed do that all the time."""
    try:
        with socket.create_server((address, 0)) as server:
            port = server.getsockname()[1]
            with socket.create_connection((address, port), timeout=seconds):
                pass
    except OSError as error:
        return failed(
            f"no port of {address} can be opened and reached: {error.strerror or error}",
            "a sandbox or firewall forbids it: allow local connections (in a container, bring the interface lo up)",
        )
    return ok(f"{address}: a port can be opened and reached")


def names(host: str | None = None) -> Outcome:
    """Whether localhost and the machine's own name have addresses. host: the name, looked up by default."""
    host = socket.gethostname() if host is None else host
    addresses = {}
    for name in ("localhost", host):
        try:
            addresses[name] = socket.getaddrinfo(name, None, proto=socket.IPPROTO_TCP)[0][4][0]
        except (OSError, UnicodeError):
            line = f'add the line "127.0.0.1 {name}" to /etc/hosts'
            if name == "localhost":
                return failed("localhost has no address", f"Ray and torch.distributed need it: {line}")
            return warning(f"this machine's name {name!r} has no address", f"torch.distributed looks it up: {line}")
    return ok(", ".join(f"{name} is {address}" for name, address in addresses.items()))


def ray_cluster(needs: Needs, environment: Mapping[str, str], seconds: float) -> Outcome:
    """Whether the cluster named by RAY_ADDRESS answers; more than one node cannot do without it."""
    address = environment.get("RAY_ADDRESS", "")
    if address in ("", "local"):
        if needs.nodes > 1:
            return failed(
                f"{needs.nodes} nodes, and RAY_ADDRESS is not set",
                "start Ray on the nodes (ray start --head, ray start --address=...) and set "
                f"RAY_ADDRESS=HOST:{_GCS_PORT}",
            )
        return not_applicable("RAY_ADDRESS is not set: the run starts a cluster of its own")
    if address == "auto":
        return warning("RAY_ADDRESS is auto: it was not tried", f"name the cluster: RAY_ADDRESS=HOST:{_GCS_PORT}")
    match = re.fullmatch(r"(?:ray://)?\[?([^\[\]/]+?)\]?(?::(\d+))?", address)
    if match is None:
        return failed(f"RAY_ADDRESS is {address!r}", f"it has the form HOST:{_GCS_PORT}")
    host, port = match[1], int(match[2] or _GCS_PORT)
    try:
        with socket.create_connection((host, port), timeout=seconds):
            return ok(f"{host}:{port} answers")
    except (OSError, OverflowError) as error:
        reason = os.strerror(error.errno) if isinstance(error, OSError) and (error.errno or 0) > 0 else str(error)
        return failed(
            f"{host}:{port} does not answer: {reason}",
            "start the cluster (ray status on its head), open the port, or unset RAY_ADDRESS to run on this machine",
        )
