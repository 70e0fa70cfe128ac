"""One attempt at a stage: verl's program in a process of its own, watched until it ends.

An attempt's folder, <stage>/attempts/<number>/, holds config.yaml (what verl was given), verl.jsonl (what it reported),
attempt.json (after which step it began, when, on what) and end.json (how it ended; not there when we were killed too).
"""

from __future__ import annotations

import contextlib
import datetime
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from envtune.curriculum import Stage
from envtune.doctor.check import holds_secret
from envtune.errors import EnvtuneError
from envtune.files import atomic_write, write_json
from envtune.provenance import provenance
from envtune.run_record import hardware
from envtune.training import metrics
from envtune.training.cluster import Cluster
from envtune.training.processes import watched
from envtune.training.progress import say, show_steps

_POLL_S = 2.0


class AttemptFailed(EnvtuneError):
    """verl ended, or stood still. reported: whether it had reported a step by then."""

    def __init__(self, message: str, reported: bool) -> None:
        super().__init__(message)
        self.reported = reported


@dataclass(frozen=True)
class Attempt:
    """What is to be run. start_step: of the checkpoint that verl goes on from, 0 for none; stall_s: seconds without a
    reported step after which it counts as standing still; variables: of the profile, for
    every process of verl's (a cluster that was there before has an environment of its own)."""

    stage: Stage
    folder: Path
    config: DictConfig
    start_step: int
    stall_s: float
    variables: Mapping[str, str]

    def run(self, shared: Cluster, environment: Mapping[str, str], begun: Callable[[Path], object]) -> None:
        """Run verl to its end, its progress on our terminal; `begun` is called with the attempt's folder when it is there.

        Raises AttemptFailed when it does not end well.
        """
        wanted = int(self.config.trainer.total_training_steps)
        attempt = metrics.new_attempt(self.folder, self.start_step, self._about())
        begun(attempt)
        with atomic_write(attempt / "config.yaml") as stream:
            stream.write(OmegaConf.to_yaml(self._own_config(attempt, shared)))
        program = ["-m", "envtune.training.main", "--config-path", str(attempt), "--config-name", "config"]
        environment = {**environment, "RAY_ADDRESS": shared.address, "HYDRA_FULL_ERROR": "1"}
        log = self.folder / "log.txt"
        where = f"from step {self.start_step}" if self.start_step else "from the start"
        say(f"{self.stage.name} ({self.stage.aim}): {where}, at most {wanted} steps; log: {log}")
        outcome, message, code = "interrupted", "", None
        try:
            with log.open("ab") as output, watched([shared.python, *program], environment, output, self.folder) as verl:
                stalled = self._watch(attempt, verl, wanted)
            code = verl.returncode
            outcome = "stalled" if stalled else "failed" if code else "finished"
            if stalled:
                message = f"no step was reported for {self.stall_s:.0f} s, and verl was ended"
            elif code:
                message = f"verl ended with code {code}"
            if message:
                steps = [step for step, _ in metrics.read_attempt(attempt)]
                raise AttemptFailed(
                    f"{self.stage.name}: {message}; the same command goes on from its last checkpoint. The end of {log}:\n"
                    f"{_last_error(log)}",
                    reported=any(step > self.start_step for step in steps),
                )
        finally:
            end = {"ended": _now(), "outcome": outcome, "returncode": code, "message": message}
            with contextlib.suppress(OSError, EnvtuneError):  # a full disk must not hide what filled it
                write_json(attempt / "end.json", end)

    def _watch(self, attempt: Path, verl: subprocess.Popen[bytes], wanted: int) -> bool:
        """Show progress until verl ends (False) or stands still (True)."""
        began = last = time.monotonic()
        shown = self.start_step
        while verl.poll() is None:
            time.sleep(_POLL_S)
            now_shown = show_steps(self.stage.name, attempt, shown, wanted, began)
            if now_shown > shown:
                shown, last = now_shown, time.monotonic()
            elif time.monotonic() - last > self.stall_s:
                return True
        show_steps(self.stage.name, attempt, shown, wanted, began)
        return False

    def _about(self) -> dict[str, Any]:
        trainer, rollout = self.config.trainer, self.config.actor_rollout_ref.rollout
        layout = {"nodes": trainer.nnodes, "gpus_per_node": trainer.n_gpus_per_node, "device": trainer.device}
        layout["rollout_gpus"] = rollout.nnodes * rollout.n_gpus_per_node  # of their own, in one asynchronous mode
        return {"began": _now(), "layout": layout, "provenance": provenance(), "hardware": hardware()}

    def _own_config(self, attempt: Path, shared: Cluster) -> DictConfig:
        """The stage's configuration with what is this attempt's own: where reports go, and how processes start."""
        own = {
            "ray_kwargs.ray_init.runtime_env.py_executable": shared.python,
            "ray_kwargs.ray_init.runtime_env.env_vars": {
                **{name: value for name, value in self.variables.items() if not _stays(name)},
                "VERL_FILE_LOGGER_PATH": str(attempt / "verl.jsonl"),
                "TENSORBOARD_DIR": str(self.folder / "tensorboard" / attempt.name),
            },
            "hydra": {"run": {"dir": str(attempt)}, "output_subdir": None},
        }
        full = self.config.copy()
        for key, value in own.items():
            OmegaConf.update(full, key, value, force_add=True)
        return full


def _stays(name: str) -> bool:
    """Variables that are not written into a configuration: Ray's own, and secrets. A cluster of ours inherits them."""
    return name.startswith("RAY_") or holds_secret(name)


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _last_error(log: Path) -> str:
    """The lines of a log that say what went wrong: from the last traceback on, or the last few."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    errors = [number for number, line in enumerate(lines) if "Error" in line]
    end = errors[-1] + 1 if errors else len(lines)
    return "\n".join(line[:300] for line in lines[max(0, end - 8) : end])
