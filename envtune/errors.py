"""The one exception that a user is meant to read.

Anything that the user can mend (a bad argument, a missing file, an ill-formed line) is raised as
`EnvtuneError` with one sentence that says what is wrong and what to do. The command line prints that
sentence alone and exits with code 2; every other exception is a defect of ours and keeps its traceback.
"""


class EnvtuneError(Exception):
    """Bad input. The message is one clear sentence: what is wrong, and what to do about it."""
