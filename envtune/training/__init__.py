"""Training: the only package that touches verl.

stage.py           the curriculum's runs: `train`
config.py          a stage's verl configuration;  paper_settings.*  the published settings
dataset.py         the rows that verl reads: `write_data`
agent_loop.py      an episode as verl's agent loop;  tokens.py  conversations as token ids
checkpoints.py     which checkpoint is whole, and the hand-over of weights;  metrics.py  what verl reports
cluster.py         what the stages share: one Ray cluster, and processes that begin preloaded (preload*.py)
processes.py       a run's processes
dry_run.py         is a run possible, and what would it take
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
