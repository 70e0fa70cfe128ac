"""One Ray cluster for all stages of a run, and processes that begin with their modules imported.

Started anew for each stage, Ray and the imports of some ten processes would cost minutes every time. `cluster` gives
what a stage's verl run needs to share them: the ``python`` that starts its processes (`envtune.training.preload`) and
Ray's address. The cluster ends with the block. With ``RAY_ADDRESS`` in the environment that cluster is used, and left.

The head runs in a process of its own, so that it gets the run's environment and dies with it:

    python -m envtune.training.cluster '{"num_cpus": 8}'     prints the address; ends when its standard input does
"""

from __future__ import annotations

import contextlib
import functools
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from envtune.errors import EnvtuneError
from envtune.training.preload import preloaded
from envtune.training.processes import kill_marked


@dataclass(frozen=True)
class Cluster:
    """python: path of the interpreter that verl's processes are started with; address: Ray's."""

    python: str
    address: str


@contextmanager
def cluster(
    settings: Mapping[str, Any], modules: tuple[str, ...], environment: Mapping[str, str], log: Path
) -> Iterator[Cluster]:
    """Start what all stages share.

    settings: arguments of ``ray.init``; modules: to be preloaded; environment: of every process; log: file for what
    Ray's head and the preloading say. Raises EnvtuneError when Ray does not start.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output, preloaded(modules, environment, output) as python:
        if environment.get("RAY_ADDRESS"):
            yield Cluster(python, environment["RAY_ADDRESS"])
            return
        head = subprocess.Popen(
            [sys.executable, "-m", "envtune.training.cluster", json.dumps(dict(settings))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
            env=dict(environment),
            text=True,
            start_new_session=True,
        )
        with head:
            assert head.stdin and head.stdout
            try:
                address = head.stdout.readline().strip()
                if not address:
                    raise EnvtuneError(f"Ray did not start; see {log}")
                yield Cluster(python, address)
            finally:
                head.stdin.close()
                head.wait()


class Shared:
    """The cluster that all stages of a run share: started when it is first asked for, and again after `close`.

    Arguments as `cluster`'s; folder: the run's, of `envtune.training.processes.marked`; Ray's log goes there as well.
    """

    def __init__(
        self, settings: Mapping[str, Any], modules: tuple[str, ...], environment: Mapping[str, str], folder: Path
    ) -> None:
        self._start = functools.partial(cluster, settings, modules, environment, folder / "cluster.log")
        self._folder = folder
        self._stack = contextlib.ExitStack()
        self._cluster: Cluster | None = None

    def __enter__(self) -> Shared:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def get(self) -> Cluster:
        """The running cluster."""
        if self._cluster is None:
            self._cluster = self._stack.enter_context(self._start())
        return self._cluster

    def close(self) -> None:
        """End it, with every process of the run that is left."""
        self._cluster = None
        try:
            self._stack.close()
        finally:
            kill_marked(self._folder)


def _head(settings: str) -> None:
    """Runs Ray's head node until standard input ends."""
    import ray

    # "local": a cluster of somebody else's on this machine is not to be joined by chance
    context = ray.init(address="local", **json.loads(settings), log_to_driver=False)
    print(context.address_info["gcs_address"], flush=True)  # noqa: T201 - the answer to whoever started us
    sys.stdin.read()
    ray.shutdown()


if __name__ == "__main__":
    _head(sys.argv[1])
