"""Tasks: BFCL V3 multi-turn instances as frozen values, the split that training and evaluation keep to, and the list of
known defects."""

from envtune.tasks.defects import Defect, defects_of, is_sound, known_defects, load_defects
from envtune.tasks.load import find_task, load_tasks
from envtune.tasks.split import SPLITS, Split, load_split
from envtune.tasks.task import Task, cut_task, cut_tools, cut_turns

__all__ = [
    "SPLITS",
    "Defect",
    "Split",
    "Task",
    "cut_task",
    "cut_tools",
    "cut_turns",
    "defects_of",
    "find_task",
    "is_sound",
    "known_defects",
    "load_defects",
    "load_split",
    "load_tasks",
]
