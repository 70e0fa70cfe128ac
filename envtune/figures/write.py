"""`envtune figures`: all figures of a profile, as SVG and PNG, into results/<profile>/figures/.

curves.csv.gz there is what they were made from. Where there is no run (a fresh checkout), they are made anew from that copy.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from envtune.errors import EnvtuneError
from envtune.figures.ablations import FIGURES, ablation_figure, paper_points
from envtune.figures.curves import COLUMNS, read_curves
from envtune.figures.style import save, styled
from envtune.figures.training import training_figure
from envtune.files import atomic_write
from envtune.profile import ROOT, Profile

PAPER = ROOT / "results" / "paper" / "figures.csv"
TRAINING = "training"
CURVES = "curves.csv.gz"


def write_figures(profile: Profile) -> list[Path]:
    """Write the ablation figures, and the training curves of the profile's arm where it has run; gives their paths.

    Raises EnvtuneError on a file that cannot be read.
    """
    folder = profile.results_dir / "figures"
    curves, points = read_curves(profile), paper_points(PAPER)
    if curves.empty:
        curves = _read_copy(folder / CURVES)
    else:
        with atomic_write(folder / CURVES) as stream:
            curves.to_csv(stream, index=False)
    written = []
    with styled():
        for name in FIGURES:
            figure, caption = ablation_figure(name, points, curves, profile)
            written += save(figure, folder, f"ablation_{name}", caption)
        if (made := training_figure(curves, profile)) is not None:
            figure, caption = made
            written += save(figure, folder, TRAINING, caption)
        else:
            for suffix in ("svg", "png"):  # of runs that are gone
                (folder / f"{TRAINING}.{suffix}").unlink(missing_ok=True)
    return written


def _read_copy(path: Path) -> pd.DataFrame:
    if not path.is_file():
        return pd.DataFrame(columns=list(COLUMNS))
    try:
        return pd.read_csv(path)[list(COLUMNS)]
    except (OSError, EOFError, ValueError, KeyError) as error:
        raise EnvtuneError(f"{path} cannot be read ({error}); remove it, or restore it from the repository") from error
