"""Training: the only package that touches verl.

stage.py           the curriculum's runs: `train`;  attempt.py  one run of verl;  progress.py  what is said meanwhile
config.py          a stage's verl configuration;  paper_settings.*  the published settings
dataset.py         the rows that verl reads: `write_data`
main.py            verl's program, with our trainer (trainer.py) in it;  time_split.py  where a step's time goes
agent_loop.py      an episode as verl's agent loop;  tokens.py  conversations as token ids
gates.py           when a stage is over;  metrics.py  what verl reports
checkpoints.py     which checkpoint is whole, which stay, and the hand-over of weights;  disk.py  room for them
cluster.py         what the stages share: one Ray cluster, and processes that begin preloaded (preload*.py)
processes.py       a run's processes
dry_run.py         is a run possible, and what would it take (cost.py, model_shape.py, lock_check.py)
cpu_*.py           verl and vLLM on a machine without a GPU
"""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    """`train` and `write_data`, imported when they are asked for: what they need takes seconds to import."""
    if name == "train":
        from envtune.training.stage import train

        return train
    if name == "write_data":
        from envtune.training.dataset import write_data

        return write_data
    raise AttributeError(name)
