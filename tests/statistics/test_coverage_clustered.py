"""How often the intervals by clusters, nominal 95 %, hold the truth, on simulated runs (tests/helpers/simulated_runs.py).

FIGURES
"""
