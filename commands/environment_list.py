"""`nightlab environment list`: what environments there are, here and installed, and whether their code is the frozen one."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer


def list_(as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list")] = False) -> None:
    """List the environments: name, world, control rate, goal."""
    from environments import names

    rows = [row(name) for name in names()]
    if as_json:
        print(json.dumps(rows))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, header_style="dim")
    for heading in ("environment", "world", "rate", "frozen", "goal"):
        table.add_column(heading, no_wrap=heading != "goal")
    for one in rows:
        if "error" in one:
            table.add_row(one["name"], "", "", "no", one["error"])
        else:
            frozen = "yes" if one["frozen"] else "no"
            table.add_row(one["name"], one["world"], f"{one['rate_hz']:g} Hz", frozen, one["goal"])
    Console().print(table)
    print("more: nightlab environment show NAME   ·   a new one: docs/new_environment.md")


def row(name: str) -> dict[str, Any]:
    """What the list says of one environment; of a broken one, what is wrong with it."""
    from environments import manifest
    from nightlab import cards
    from nightlab.errors import NightlabError, TamperError

    try:
        about = cards.card(name)
        try:
            sha256, why = manifest.check(name), ""
        except TamperError as error:
            sha256, why = "", str(error)
    except NightlabError as error:
        return {"name": name, "error": str(error)}
    return {
        "name": name,
        "title": about.title,
        "world": about.world,
        "rate_hz": about.rate_hz,
        "goal": about.goal,
        "frozen": bool(sha256),
        "manifest_sha256": sha256,
        "why_not_frozen": why,
        "folder": str(cards.folder(name)),
    }
