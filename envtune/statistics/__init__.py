"""Intervals and tests on the outcomes of items: the only place that computes either.

outcomes.py     records -> a table of outcomes; two of them -> pairs
intervals.py    the interval of a rate, of an average of rates, of a paired difference
sign_flip.py    exact tests of paired outcomes: McNemar's, and sign flips of whole clusters
comparison.py   a checkpoint against another on the same items: is it worse?

Nothing is drawn at random: the same outcomes give the same figures, in any order of rows.
"""
