"""A run's record, runs/<run>/run.json: what ran, on what, how long, and what came of it.

It is assembled from the files that a run leaves and can be written again at any time; what those files do not say is
null. Units are in the names: `..._s` and `seconds...` are seconds, `..._bytes` bytes, `..._hours` hours; shares are in
0..1, accuracies of validation in 0..1 and of the evaluation in percent; times are ISO 8601, in UTC.

record.py      puts the parts together and writes them: `write_run_record`
schema.py      what the file must have; reads it, older versions too: `read_run_record`
inputs.py      release, split, prompts, hints, seeds
machine.py     code, packages, image, hardware; `write_snapshot` keeps what an attempt ran with
attempts.py    attempts at a stage, also those that were killed: how long, on how many GPUs
stages.py      a stage: steps, seconds, tokens, GPU-hours, metrics; and the sum of all
evaluations.py what was evaluated: of each checkpoint and suite the repeats
show.py        the record on the terminal: `format_run_record`
reading.py     JSON files, times, sums of what may be missing

Nothing here imports verl or torch.
"""

from envtune.run_record.attempts import end_killed_attempts
from envtune.run_record.machine import hardware, write_snapshot
from envtune.run_record.record import RECORD, write_run_record
from envtune.run_record.schema import SCHEMA_VERSION, read_run_record
from envtune.run_record.show import format_run_record

__all__ = [
    "RECORD",
    "SCHEMA_VERSION",
    "end_killed_attempts",
    "format_run_record",
    "hardware",
    "read_run_record",
    "write_run_record",
    "write_snapshot",
]
