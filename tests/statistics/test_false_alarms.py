"""How often the gate calls a model worse: one that did not change, and one that passes 20 % or 30 % less.

Items, rates and noise: tests/helpers/simulated_runs.py. The sets, 520 items each:

- in distribution: four categories of 130 questions at the paper's rates (Table 1, mean 0.28);
- out of distribution: web search, 2 x 80, and memory, 3 x 120 in 5 scenarios, at the paper's rates (Table 2, mean 0.17);

each once with items that are independent, and once with clusters whose difficulty and whose noise of a run is shared.

FIGURES
"""
