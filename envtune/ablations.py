"""The ablations: every arm of the curriculum with every seed, each a run of its own, one after another.

    envtune ablations --profile gpu --arm binary-reward --seeds 42,43
    make ablations PROFILE=gpu                                          all arms, three seeds
    make reproduce PROFILE=mini                                         the arms and seeds of the profile's `experiment`

A run goes through the same steps as `make reproduce`; what is done is not repeated, and a stage that another of the runs
has computed is taken over (`envtune.training.taken_over`). One that fails does not keep the others from running: it is
reported at the end. One that collapses (the single stage of the paper's figure does) has ended: that is its result.
"""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from envtune.curriculum import ARMS
from envtune.errors import EnvtuneError
from envtune.experiment import Experiment
from envtune.profile import Profile, load_profile, with_nodes

_DEFAULT = Experiment(tuple(ARMS), (42, 43, 44))  # of a profile that has none
_COLLAPSED = "collapsed"


class _Collapsed(EnvtuneError):
    """The run ended with a stage that collapsed, and what there was to evaluate before it has been."""


def run_ablations(
    name: str, *, arms: str | None = None, seeds: str | None = None, nodes: int | None = None, dry_run: bool = False
) -> int:
    """Run, or with `dry_run` only check, the arms with the seeds (names, numbers with commas between; None: those of the
    profile's experiment, or all arms with seeds 42, 43, 44), on `nodes` nodes.

    Gives 0 when all ended well or collapsed, else 1. Raises EnvtuneError for an arm, a seed or a profile that there is not.
    """
    profiles = [with_nodes(profile, nodes) for profile in experiment_runs(name, arms, seeds)]
    console = Console(highlight=False)
    outcomes = []
    for number, profile in enumerate(profiles, start=1):
        done = "" if dry_run else f"; {sum(map(is_done, profiles))} done"
        console.rule(f"run {number} of {len(profiles)}: {profile.name}, arm {profile.arm}, seed {profile.seed}{done}")
        outcomes.append(_outcome(profile, dry_run, console))
    table = Table("arm", "seed", "outcome", "where")
    for profile, outcome in zip(profiles, outcomes, strict=True):
        table.add_row(profile.arm, str(profile.seed), outcome or ("holds" if dry_run else "done"), str(profile.run_dir))
    console.print(table)
    return int(any(outcome and not outcome.startswith(_COLLAPSED) for outcome in outcomes))


def experiment_runs(name: str, arms: str | None = None, seeds: str | None = None) -> list[Profile]:
    """The runs of a profile's experiment, each once; arms and seeds: as in `run_ablations`."""
    own = load_profile(name).experiment or _DEFAULT
    wanted = Experiment(
        tuple(dict.fromkeys(_listed(arms))) or own.arms,
        own.seeds if seeds is None else tuple(dict.fromkeys(_numbers(seeds))),
    )
    return [load_profile(name, arm=arm, seed=seed) for arm, seed in wanted.runs]


def is_done(profile: Profile) -> bool:
    """Whether the last stage of the profile's run is."""
    return (profile.stage_dir(profile.curriculum[-1].name) / "done.json").is_file()


def _outcome(profile: Profile, dry_run: bool, console: Console) -> str:
    """What went wrong, empty when nothing did."""
    try:
        if dry_run:
            from envtune.training.dry_run import dry_run as check

            return "problems, see above" if check(profile, console) else ""
        _run(profile)
    except EnvtuneError as error:
        console.print(str(error), style="red", markup=False)
        collapsed = f"{_COLLAPSED}: " if isinstance(error, _Collapsed) else ""
        return f"{collapsed}{str(error).splitlines()[0]}"
    except Exception as error:  # noqa: BLE001 - the other runs are independent of this one
        console.print_exception()
        return repr(error)
    return ""


def _has_collapsed(profile: Profile) -> bool:
    """Whether the run ended with a stage that collapsed, by what it wrote."""
    from envtune.run_record import RECORD, read_run_record

    record = profile.run_dir / RECORD
    return record.is_file() and read_run_record(record)["run"]["status"] == _COLLAPSED


def _run(profile: Profile) -> None:
    from envtune.models import prepare_model
    from envtune.training import train, write_data

    prepare_model(profile)
    write_data(profile)
    try:
        train(profile, share=True)
    except EnvtuneError as failed:  # a stage that collapsed leaves those before it, and they are results
        try:
            _evaluate(profile)
        except EnvtuneError as error:
            raise EnvtuneError(f"{failed}\nand then: {error}") from error
        if _has_collapsed(profile):
            raise _Collapsed(str(failed)) from failed
        raise
    _evaluate(profile)


def _evaluate(profile: Profile) -> None:
    """The suites and the tables; nothing in an experiment that goes by training's own validations."""
    if profile.experiment is not None and not profile.experiment.evaluate:
        return
    from envtune.evaluation.run import evaluate
    from envtune.tables import write_tables

    evaluate(profile)
    write_tables(profile)


def _listed(text: str | None) -> list[str]:
    return [part for part in (text or "").replace(",", " ").split() if part]


def _numbers(text: str) -> list[int]:
    try:
        numbers = [int(part) for part in _listed(text)]
        if not numbers:
            raise ValueError("none")
        return numbers
    except ValueError as error:
        raise EnvtuneError(f"seeds are whole numbers with commas between, not {text!r}") from error
