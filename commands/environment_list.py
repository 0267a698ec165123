"""`nightlab environment list`: what environments there are, here and installed, and whether their code is the frozen one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any

import typer


def list_(
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the table of docs/environments.md")] = False,
) -> None:
    """List the environments: name, world, control rate, goal."""
    from environments import REGISTRY, names

    if markdown:
        print(table(sorted(REGISTRY)))
        return
    rows = [row(name) for name in names()]
    if as_json:
        print(json.dumps(rows))
        return
    from rich.console import Console
    from rich.table import Table

    screen = Table(box=None, header_style="dim")
    for heading in ("environment", "world", "rate", "frozen", "goal"):
        screen.add_column(heading, no_wrap=heading != "goal")
    for one in rows:
        if "error" in one:
            screen.add_row(one["name"], "", "", "no", one["error"])
        else:
            frozen = "yes" if one["frozen"] else "no"
            screen.add_row(one["name"], one["world"], f"{one['rate_hz']:g} Hz", frozen, one["goal"])
    Console().print(screen)
    print("more: nightlab environment show NAME   ·   a new one: docs/new_environment.md")


def table(names: Sequence[str]) -> str:
    """What the environments of this project ask for, as a Markdown table."""
    from nightlab import cards

    lines = ["| environment | goal | success | reset | station |", "|---|---|---|---|---|"]
    for name in names:
        about = cards.card(name)
        link = f"[{about.title}](../environments/{name}/README.md)<br>`{name}`"
        station = f"`{about.world}`, {about.rate_hz:g} Hz"
        lines.append(f"| {link} | {about.goal} | {about.success} | {about.reset} | {station} |")
    return "\n".join(lines)


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
