"""`envtune figures`: all figures of a profile, as SVG and PNG, into results/<profile>/figures/.

curves.csv.gz there is what they were made from. Of runs that are not on this machine (a fresh checkout has none) the curves
are those of that copy: remove it to be rid of a run.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from envtune.curriculum import ARMS
from envtune.errors import EnvtuneError
from envtune.figures.ablations import FIGURES, ablation_figure, paper_points
from envtune.figures.claims import CLAIMS, claims_figure, read_claims
from envtune.figures.curves import COLUMNS, read_curves
from envtune.figures.style import save, styled
from envtune.figures.training import training_figure
from envtune.files import atomic_write
from envtune.profile import ROOT, Profile

PAPER = ROOT / "results" / "paper" / "figures.csv"
TRAINING = "training"
CURVES = "curves.csv.gz"


def write_figures(profile: Profile) -> list[Path]:
    """Write the ablation figures, the training curves of the profile's arm where it has run, and the claims where `envtune claims`
    has tested them; gives their paths.

    Raises EnvtuneError on a file that cannot be read.
    """
    folder = profile.results_dir / "figures"
    points = paper_points(PAPER)
    curves = with_copied(read_curves(profile), folder / CURVES)
    if not curves.empty:
        with atomic_write(folder / CURVES) as stream:
            curves.to_csv(stream, index=False)
    written = []
    with styled():
        for name in FIGURES:
            figure, caption = ablation_figure(name, points, curves, profile)
            written += save(figure, folder, f"ablation_{name}", caption)
        tested = read_claims(profile.results_dir)
        for name, made in (
            (TRAINING, training_figure(curves, profile)),
            (CLAIMS, None if tested is None else claims_figure(*tested)),
        ):
            if made is not None:
                figure, caption = made
                written += save(figure, folder, name, caption)
            else:
                for suffix in ("svg", "png"):  # of runs that are gone
                    (folder / f"{name}.{suffix}").unlink(missing_ok=True)
    return written


def with_copied(curves: pd.DataFrame, path: Path) -> pd.DataFrame:
    """The curves, and of runs that are not among them those of the copy, if there is one; arms in the order of `ARMS`, seeds
    ascending."""
    if not path.is_file():
        return curves
    try:
        copied = pd.read_csv(path)[list(COLUMNS)]
        others = copied[~copied["run"].isin(set(curves["run"]))]
        both = others if curves.empty else pd.concat([curves, others]) if len(others) else curves
        place = both["arm"].map(list(ARMS).index)
    except (OSError, EOFError, ValueError, KeyError) as error:
        raise EnvtuneError(f"{path} cannot be read ({error}); remove it, or restore it from the repository") from error
    return both.assign(place=place).sort_values(["place", "seed"], kind="stable", ignore_index=True)[list(COLUMNS)]
