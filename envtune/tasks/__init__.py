"""Tasks: BFCL V3 multi-turn instances as frozen values, and the split that training and evaluation keep to."""

from envtune.tasks.load import find_task, load_tasks
from envtune.tasks.split import SPLITS, Split, load_split
from envtune.tasks.task import Task, cut_tools

__all__ = ["SPLITS", "Split", "Task", "cut_tools", "find_task", "load_split", "load_tasks"]
