"""Tables from records: what is published, what we measured, and under which protocol.

paper.py     the paper's figures
collect.py   records of a run -> results/<profile>/records/ -> rows
table1.py    rows -> Markdown and CSV
summary.py   what there is of a run, on the terminal
"""

from envtune.tables.summary import summarise
from envtune.tables.write import write_tables

__all__ = ["summarise", "write_tables"]
