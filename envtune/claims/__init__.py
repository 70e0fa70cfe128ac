"""Claims about training, tested on held-out tasks: `envtune claims --profile mini`.

validation.py  what verl's validations wrote of each held-out task -> one table (pandas)
paired.py      the tests: before against after, one arm against another
verdicts.py    the claims, and the rule that decides them
origin.py      where the numbers come from: model, runs, steps, commits
write.py       results/<profile>/claims.md, claims.json and curves.csv.gz

Which tests count was written down before the runs: reproduce/mini.md.
"""

from envtune.claims.paired import Change, arm_against_arm, end_against_start
from envtune.claims.validation import read_validations
from envtune.claims.verdicts import CLAIMS, Claim, decide
from envtune.claims.write import write_claims

__all__ = [
    "CLAIMS",
    "Change",
    "Claim",
    "arm_against_arm",
    "decide",
    "end_against_start",
    "read_validations",
    "write_claims",
]
