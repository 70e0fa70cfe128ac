"""Tables from records: what is published, what we measured, and under which protocol.

paper.py     the paper's figures; audit/: what does not add up in them
collect.py   records of a run -> results/<profile>/records/ -> runs
rows.py      runs of one checkpoint -> a row; rows of one protocol -> a block
table1.py    in distribution: rows -> Markdown, LaTeX (latex.py) and CSV (table1_csv.py)
table2.py    out of distribution, and beyond the paper (figures.py: what stands below a block); table2_csv.py
markdown.py  grids, numbers with their intervals, counts
verdicts.py  which figure of the paper a row reproduces, and whether the two agree; against.py: as a block of the tables
readme.py    the short tables of the README
summary.py   what there is of a run, on the terminal
"""

from envtune.tables.summary import summarise
from envtune.tables.write import write_tables

__all__ = ["summarise", "write_tables"]
