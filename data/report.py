"""`report.html`: one self-contained page that a person reads in the morning."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from data.episodes import write_atomic
from data.report_data import read_campaign
from data.report_page import page
from nightlab.records import CampaignSpec, Event

if TYPE_CHECKING:
    from data.lab import Lab

TEMPLATES = Path(__file__).with_name("templates")


def write_report(lab: Lab, campaign: str) -> Path:
    """Write `reports/<campaign>/report.html` of a lab; returns its path.

    Raises:
        UsageError: the lab has no such campaign.
    """
    spec, events = read_campaign(lab, campaign)
    path = lab.reports_dir / campaign / "report.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, render(spec, events, lab).encode(), sync=False)
    return path


def render(spec: CampaignSpec, events: Sequence[Event], lab: Lab | None = None) -> str:
    """The page as HTML: no script, nothing loaded from elsewhere, light and dark by the reader's setting."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = percent
    environment.filters["count"] = lambda value: f"{value:,}".replace(",", " ")
    return environment.get_template("report.html").render(page(spec, events, lab))


def percent(value: float | None, digits: int = 0) -> str:
    """A share as `93 %` (no-break space); `–` for None. More digits where it would round up to 100 % or down to 0 %."""
    if value is None:
        return "–"
    text = f"{100 * value:.{digits}f}"
    if digits < 6 and float(text) in (0, 100) and 0 < value < 1:
        return percent(value, digits + 1)
    return f"{text}\u00a0%"
