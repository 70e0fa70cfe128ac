"""One page about a run, and its model card: `envtune report --profile cpu`, `envtune model-card --profile cpu`.

collect.py          all that both say, from the files of a run and of its results: `collect`
examples.py         which items got fixed, which broke, which still fail, with their conversations
page.py             the page: report.html.jinja with report.css put in
svg.py              a figure's file as an element of the page
card.py             the model card

A run's text, its model's above all, is never markup: the template escapes all that it is given.
"""

from envtune.report.card import write_model_card
from envtune.report.page import write_report

__all__ = ["write_model_card", "write_report"]
