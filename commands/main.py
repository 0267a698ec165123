"""The root of the command line: `nightlab VERB`. Only the module of the verb that was asked for is imported."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, cast

import typer

from commands.benchmark import VERBS as BENCHMARKS

COMMANDS: dict[str, tuple[str, str]] = {
    "run": ("commands.run:run", "Run a campaign to its end, or continue one."),
    "up": ("commands.up:up", "Start the lab and print the Prefect UI's address."),
    "down": ("commands.down:down", "Stop every process of the lab."),
    "status": (
        "commands.status:status",
        "Show processes, stations and the campaign.",
    ),
    "report": ("commands.report:report", "Write report.html, or print the figures as JSON."),
    "tree": ("commands.report:tree", "Print the tree of ideas and what became of them."),
    "evaluate": ("commands.evaluate:evaluate", "Measure an idea on fresh stations, outside any campaign."),
    "replay": ("commands.replay:replay", "Run an iteration again from one of its stages."),
    "estop": ("commands.estop:estop", "Stop every robot of the lab, or one, at once."),
    "reset-check": ("commands.reset_check:reset_check", "Measure an environment's reset: success, starts, duration."),
    "unpark": ("commands.unpark:unpark", "Give a station work again whose reset had given up."),
    "simulate-fleet": (
        "commands.simulate_fleet:simulate_fleet",
        "Predict utilisation, time to success and tokens for 1 to 64 robots.",
    ),
    "doctor": ("commands.doctor:doctor", "Check this machine and say how to mend it."),
}
"""Verb → where its function is, and its line in `nightlab --help`."""

GROUPS: dict[str, tuple[str, dict[str, tuple[str, str]]]] = {
    "verifier": (
        "The verifier workbench: label, measure, freeze and judge again.",
        {
            "key": ("commands.verifier:key", "Create the operator's signing key, or show its public half."),
            "label": ("commands.verifier_label:label", "Make a labelled set from the simulator or a lab."),
            "evaluate": ("commands.verifier_evaluate:evaluate", "Measure a verifier against ground truth."),
            "score": ("commands.verifier:score", "Measure a version of a verifier on a labelled set."),
            "freeze": ("commands.verifier_freeze:freeze", "Sign a verifier: from then on only that one judges here."),
            "rescore": ("commands.verifier_rescore:rescore", "Judge a recorded campaign again, with any version."),
        },
    ),
    "environment": (
        "Environments: what there is, and building one.",
        {
            "list": ("commands.environment_list:list_", "List the environments, of this project and installed ones."),
            "show": ("commands.environment_show:show", "Show an environment's contract."),
            "build": ("commands.environment_build:build", "Let a researcher author reset and verify on copies."),
        },
    ),
    "station": (
        "One robot cell, on the machine that it is wired to.",
        {
            "serve": ("commands.station:serve", "Serve a station from its station.yaml."),
            "check": ("commands.station:check", "Check a station.yaml, robot and cameras; nothing moves."),
            "clear": ("commands.station:clear", "Clear a station's e-stop, with the operator's token."),
            "keys": ("commands.station:keys", "Make certificates and tokens for a station that others reach."),
        },
    ),
    "benchmark": ("Measure nightlab itself on this host.", BENCHMARKS),
}
"""Verb → its line of help and its own verbs, in the same form as `COMMANDS`."""


def build(asked: str | None) -> typer.Typer:
    """The command line with the verb `asked` (`run`, `verifier label`) for real, and the others as lines of help."""
    root = typer.Typer(
        name="nightlab",
        help="Overnight robot research by agents. Start with: nightlab run push_t",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )

    @root.callback()
    def options(
        version: bool = typer.Option(False, "--version", help="Print the version and leave", is_eager=True),
    ) -> None:
        if version:
            from importlib.metadata import version as installed

            typer.echo(installed("nightlab"))
            raise typer.Exit

    for name, (place, line) in COMMANDS.items():
        root.command(name, help=line)(_load(place) if name == asked else _stub)
    for name, (line, verbs) in GROUPS.items():
        group = typer.Typer(help=line, no_args_is_help=True)
        for verb, (place, help_line) in verbs.items():
            group.command(verb, help=help_line)(_load(place) if f"{name} {verb}" == asked else _stub)
        root.add_typer(group, name=name)
    return root


def app(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave with its status: 2 and one message for an error that the user can mend."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    from nightlab.errors import NightlabError

    try:
        build(_asked(words))(args=words, prog_name="nightlab")
    except NightlabError as error:
        typer.echo(f"nightlab: {error}", err=True)
        sys.exit(2)
    except KeyboardInterrupt:
        typer.echo("nightlab: interrupted; see what still runs with: nightlab status", err=True)
        sys.exit(130)


def _asked(words: Sequence[str]) -> str | None:
    """The verb that was asked for: `run`, or `verifier label`; None if there is none."""
    at, verb = next(((i, word) for i, word in enumerate(words) if word in COMMANDS or word in GROUPS), (0, None))
    if verb in GROUPS:
        inner = next((word for word in words[at + 1 :] if word in GROUPS[verb][1]), None)
        return None if inner is None else f"{verb} {inner}"
    return verb


def _load(place: str) -> Callable[..., Any]:
    module, _, name = place.partition(":")
    return cast("Callable[..., Any]", getattr(import_module(module), name))


def _stub() -> None:
    """Stands in the help for a verb that was not asked for."""


if __name__ == "__main__":
    app()
