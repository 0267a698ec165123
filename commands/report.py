"""`nightlab report` and `nightlab tree`: what a lab learned, from its ledger and git history alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from nightlab.errors import LabError


def report(
    lab: Annotated[Path, typer.Option(help="Lab directory")] = Path("lab"),
    campaign: Annotated[str, typer.Option(help="Campaign, e.g. C1; default: the latest")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON")] = False,
) -> None:
    """Write report.html and print where it is, or print the figures as JSON."""
    from data.lab import Lab
    from data.report import write_report
    from data.report_data import report as figures

    opened = Lab.open(lab)
    name = campaign or latest_campaign(opened)
    if as_json:
        print(json.dumps(figures(opened, name)))
        return
    print(write_report(opened, name))


def tree(
    lab: Annotated[Path, typer.Option(help="Lab directory")] = Path("lab"),
    campaign: Annotated[str, typer.Option(help="Campaign, e.g. C1; default: the latest")] = "",
) -> None:
    """Print the tree of ideas: what each tried, from what, and what became of it."""
    from data.lab import Lab
    from data.tree import text_tree

    opened = Lab.open(lab)
    print(text_tree(opened, campaign or latest_campaign(opened)))


def latest_campaign(lab: object) -> str:
    """Name of the lab's latest campaign."""
    from data.lab import Lab
    from data.ledger import LedgerReader

    assert isinstance(lab, Lab)
    started = LedgerReader(lab.ledger_path).events(kind="campaign_started")
    if not started:
        raise LabError(f"no campaign in {lab.path}. Start one with: nightlab run push_t --lab {lab.path}")
    return started[-1].campaign
