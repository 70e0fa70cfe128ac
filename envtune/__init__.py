"""envtune: Environment Tuning (arXiv 2510.10197) as a reproducible kit on the verl RL engine.

Data flows one way: tasks -> episodes -> trajectories -> scores -> records -> tables.
Importing this package is light: no torch, no pandas, no verl.
"""

__version__ = "0.1.0"
