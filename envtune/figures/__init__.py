"""Figures from a profile's runs and from what the paper published: `envtune figures --profile cpu`.

curves.py      what the stages of all runs of a profile reported -> one table (pandas)
style.py       colours, fonts, sizes; saving so that the same data give the same bytes
lines.py       a line over a run's steps: smoothed, raw, and the band over several seeds
ablations.py   the paper's three ablation figures, its points and ours
training.py    the training curves of one arm, stage by stage
claims.py      the claims: both sides of each on the held-out tasks, from what `envtune claims` wrote
write.py       all of them into results/<profile>/figures/

Nothing here uses pyplot: a figure is an object, and there is no current one.
"""

from envtune.figures.curves import read_curves
from envtune.figures.write import write_figures

__all__ = ["read_curves", "write_figures"]
