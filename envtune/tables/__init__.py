"""Tables from records: what is published, what we measured, and under which protocol.

paper.py     the paper's figures
collect.py   records of a run -> results/<profile>/records/ -> runs
rows.py      runs of one checkpoint -> a row; rows of one protocol -> a block
table1.py    in distribution: rows -> Markdown and CSV
table2.py    out of distribution, and beyond the paper (figures.py: what stands below a block)
markdown.py  grids, numbers, counts
summary.py   what there is of a run, on the terminal
"""

from envtune.tables.summary import summarise
from envtune.tables.write import write_tables

__all__ = ["summarise", "write_tables"]
