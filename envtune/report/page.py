"""`envtune report`: one HTML page about a run, which needs nothing else: no network, no script.

Whatever it is given the template escapes; the three things that are markup are made here: tables (from Markdown in which
HTML is text), figures, and the style. A content security policy allows that style and nothing more.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markdown_it import MarkdownIt
from markupsafe import Markup

import envtune
from envtune.curriculum import ARMS
from envtune.files import atomic_write
from envtune.profile import Profile
from envtune.report.collect import Collected, collect, setting_text
from envtune.report.svg import inline_svg
from envtune.run_record.show import duration
from envtune.viewer.text import visible

PAGE = "report.html"
_LONGEST = 200_000  # characters of the run's record that the page holds
_DIFF = 2000  # of the diff in it
_INTERVAL = re.compile(r"\[-?[\d.]+, -?[\d.]+\]")  # is not broken over two lines
_HOURS = ("gpu_hours", "GPU-hours"), ("core_hours", "core-hours")


def write_report(profile: Profile, out: Path | None = None) -> Path:
    """Write the page, into results/<profile>/report.html without `out`, and give its path.

    What there is not (no run, no figures) is said in its place. The same files give the same page. Raises EnvtuneError on
    a file that is there and cannot be read.
    """
    path = profile.results_dir / PAGE if out is None else out
    text = render(collect(profile), path.parent)
    with atomic_write(path) as stream:
        stream.write(text)
    return path


def render(collected: Collected, place: Path | None = None) -> str:
    """The page's text. place: the folder that it will lie in, from which links to other files of the kit are made."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {
        "duration": duration,
        "number": _number,
        "visible": _visible,
        "markdown": _markdown,
        "setting": setting_text,
    }
    folder = resources.files(__package__)
    template = environment.from_string((folder / "report.html.jinja").read_text(encoding="utf-8"))
    figures = [inline_svg(path) for path in collected.figures]
    claims = None if collected.claims_figure is None else inline_svg(collected.claims_figure)
    registered = None
    if collected.registration is not None and place is not None:
        registered = Path(os.path.relpath(collected.registration, place.absolute())).as_posix()
    return template.render(
        it=collected,
        arm=ARMS[collected.profile.arm],
        record=collected.record,
        record_text=None if collected.record is None else _record_text(collected.record),
        hours=_hours(collected.record),
        figures=[(figure, Markup(figure.element)) for figure in figures],
        claims_figure=None if claims is None else (claims, Markup(claims.element)),
        registered=registered,
        style=Markup((folder / "report.css").read_text(encoding="utf-8")),
        version=envtune.__version__,
    )


def _hours(record: Mapping[str, Any] | None) -> tuple[str, str]:
    """Key and name of the hours that the run is counted in."""
    on_cpu = record is not None and record["totals"]["core_hours"] is not None
    return _HOURS[on_cpu]


def _number(value: float | None, digits: int = 0) -> str:
    return "" if value is None else f"{value:,.{digits}f}"


def _visible(value: Any) -> str:
    """Empty for None."""
    return "" if value is None else visible(str(value))


def _record_text(record: Mapping[str, Any]) -> str:
    """The record as JSON, without what would fill the page."""
    code = dict(record["code"])
    if len(code.get("diff") or "") > _DIFF:
        code["diff"] = f"{code['diff'][:_DIFF]}... [{len(code['diff']) - _DIFF} characters left out here]"
    text = json.dumps({**record, "code": code}, indent=2, ensure_ascii=False)
    left = len(text) - _LONGEST
    return visible(text[:_LONGEST]) + (f"\n[{left} characters left out here; run.json has them]" if left > 0 else "")


def _markdown(text: str) -> Markup:
    """Markdown as markup: HTML in it is text, pictures and links are not followed, headings are two levels lower, and each
    table scrolls in a box of its own."""
    parser = MarkdownIt("commonmark", {"html": False}).enable("table").disable(["image", "link", "autolink"])
    tokens = parser.parse(visible(text))
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(int(token.tag[1:]) + 2, 6)}"
    html = parser.renderer.render(tokens, parser.options, {})
    html = _INTERVAL.sub(r'<span class="whole">\g<0></span>', html)
    boxed = html.replace("<table>", '<div class="scroll" tabindex="0"><table>').replace("</table>", "</table></div>")
    return Markup(boxed)
