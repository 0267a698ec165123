"""`nightlab environment show NAME`: an environment's contract on one screen."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer


def show(
    name: Annotated[str, typer.Argument(help="Environment, e.g. push_t")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object")] = False,
) -> None:
    """Show an environment: goal, success, reset, limits, failures, and what researchers may combine."""
    found = about(name)
    if as_json:
        print(json.dumps(found))
        return
    from rich.console import Console
    from rich.table import Table

    console = Console()
    console.print(f"[bold]{found['title']}[/bold]  {found['goal']}")
    table = Table(box=None, show_header=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column()
    for key, value in lines(found):
        table.add_row(key, value)
    console.print(table)


def about(name: str) -> dict[str, Any]:
    """Everything that `show --json` prints.

    Raises:
        UsageError: no such environment, or its card is broken.
    """
    from agents.catalogue import load_catalogue
    from commands.environment_list import row
    from environments import make
    from nightlab import cards

    card = cards.card(name)
    environment = make(name)
    path = cards.catalogue(name)
    slots = load_catalogue(path).slots if path.is_file() else {}
    return {
        **row(name),
        **card.model_dump(mode="json", exclude={"schema_version"}),
        "max_steps": environment.max_steps,
        "max_s": environment.max_steps / card.rate_hz,
        "held_frames": environment.held_frames,
        "limits": environment.limits.model_dump(mode="json", exclude={"schema_version"}),
        "template": str(cards.template(name)),
        "slots": {slot: sorted(modules) for slot, modules in slots.items()},
    }


def lines(found: dict[str, Any]) -> list[tuple[str, str]]:
    """(what, value) in the order of the screen."""
    limits = found["limits"]
    bounds = [
        f"{key} {_vector(limits['action_low'][key])} to {_vector(limits['action_high'][key])}"
        + (f", at most {_vector(limits['max_step'][key])} a period" if key in limits["max_step"] else "")
        for key in limits["action_low"]
    ]
    failures = [f"{kind}: {what['meaning']}" for kind, what in found["failures"].items()]
    slots = [f"{slot}: {', '.join(modules)}" for slot, modules in found["slots"].items()]
    return [
        ("success", found["success"]),
        ("reset", found["reset"]),
        ("station", f"world {found['world']}, {found['rate_hz']:g} Hz, filmed by camera {found['camera']}"),
        (
            "episode",
            f"at most {found['max_steps']} steps ({found['max_s']:g} s), then {found['held_frames']} held frames",
        ),
        ("limits", "\n".join(bounds)),
        ("failures", "\n".join(failures) or "not listed"),
        ("modules", "\n".join(slots) or "none: the offline researcher has nothing to combine"),
        ("frozen", found["manifest_sha256"] or found["why_not_frozen"]),
        ("folder", found["folder"]),
        ("template", found["template"]),
    ]


def _vector(values: list[float]) -> str:
    return f"({', '.join(f'{value:g}' for value in values)})"
