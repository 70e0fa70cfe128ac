"""`envtune regress`: is a model, a training run or the code's speed worse than what it is compared with?

errors.py     what it refuses; a repeat is read by envtune/evaluation/repeat.py
committed.py  the records of a run that are committed, as a baseline
sources.py    RECORDS on the command line -> the repeats of one checkpoint, and whether two of them can be compared
compare.py    two sides -> the decision of `envtune.statistics`, with the lost items and where both come from
paper.py      one side against the values that the paper printed
show.py       a comparison for the terminal, as Markdown and as JSON
training.py   a training run against reference runs (reference convergence points, as in MLPerf's rules for training)
speed.py      two files of pytest-benchmark
"""
