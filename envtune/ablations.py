"""The ablations: every arm of the curriculum with every seed, each a run of its own, one after another.

    envtune ablations --profile gpu --arm binary-reward --seeds 42,43
    make ablations PROFILE=gpu                                          all arms, three seeds

A run goes through the same steps as `make reproduce`; what is done is not repeated. One that fails (the single stage
of the paper's figure collapses) does not keep the others from running: it is reported at the end.
"""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from envtune.curriculum import ARMS
from envtune.errors import EnvtuneError
from envtune.profile import Profile, load_profile, with_nodes


def run_ablations(
    name: str, *, arms: str | None = None, seeds: str = "42,43,44", nodes: int | None = None, dry_run: bool = False
) -> int:
    """Run, or with `dry_run` only check, the arms (names with commas between; None: all) with the seeds, on `nodes` nodes.

    Gives 0 when all ended well, else 1. Raises EnvtuneError for an arm, a seed or a profile that there is not.
    """
    wanted = [(arm, seed) for seed in _numbers(seeds) for arm in _listed(arms) or ARMS]
    profiles = [with_nodes(load_profile(name, arm=arm, seed=seed), nodes) for arm, seed in dict.fromkeys(wanted)]
    console = Console(highlight=False)
    outcomes = [_outcome(profile, dry_run, console) for profile in profiles]
    table = Table("arm", "seed", "outcome", "where")
    for profile, outcome in zip(profiles, outcomes, strict=True):
        table.add_row(profile.arm, str(profile.seed), outcome or ("holds" if dry_run else "done"), str(profile.run_dir))
    console.print(table)
    return int(any(outcomes))


def _outcome(profile: Profile, dry_run: bool, console: Console) -> str:
    """What went wrong, empty when nothing did."""
    console.rule(f"{profile.name}, arm {profile.arm}, seed {profile.seed}")
    try:
        if dry_run:
            from envtune.training.dry_run import dry_run as check

            return "problems, see above" if check(profile, console) else ""
        _run(profile)
    except EnvtuneError as error:
        console.print(str(error), style="red", markup=False)
        return str(error).splitlines()[0]
    except Exception as error:  # noqa: BLE001 - the other runs are independent of this one
        console.print_exception()
        return repr(error)
    return ""


def _run(profile: Profile) -> None:
    from envtune.evaluation.run import evaluate
    from envtune.models import prepare_model
    from envtune.tables import write_tables
    from envtune.training import train, write_data

    prepare_model(profile)
    write_data(profile)
    try:
        train(profile)
    except EnvtuneError as failed:  # a stage that collapsed leaves those before it, and they are results
        try:
            evaluate(profile)
            write_tables(profile)
        except EnvtuneError as error:
            raise EnvtuneError(f"{failed}\nand then: {error}") from error
        raise
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
