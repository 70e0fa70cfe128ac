"""verl's training program with this kit's trainer: the process that one attempt at a stage is.

    python -m envtune.training.main --config-path FOLDER --config-name config

verl finds a trainer by the name in `trainer.v1.trainer_mode`, in the process of its task runner. What is here makes
that process register ours (`envtune.training.trainer`) first; all else is verl's own.
"""

from __future__ import annotations

import hydra
import ray
from omegaconf import DictConfig
from verl.trainer.main_ppo import TaskRunnerV1, run_ppo
from verl.trainer.ppo.utils import need_critic, need_reference_policy
from verl.utils.config import validate_config

_VerlRunner = TaskRunnerV1.__ray_metadata__.modified_class  # the class below Ray's handle, made to be derived from


@ray.remote
class EnvtuneTaskRunner(_VerlRunner):
    """verl's task runner, with our trainers among those it can choose from."""

    def run(self, config: DictConfig) -> None:
        """Train as `config` says."""
        import envtune.training.trainer  # noqa: F401 - registers the trainers

        super().run(config)


@hydra.main(config_path="pkg://verl.trainer.config", config_name="ppo_trainer", version_base=None)
def main(config: DictConfig) -> None:
    """Entry point; hydra reads the options."""
    validate_config(config, use_reference_policy=need_reference_policy(config), use_critic=need_critic(config))
    run_ppo(config, task_runner_class=EnvtuneTaskRunner)


if __name__ == "__main__":
    main()
