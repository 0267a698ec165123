"""The live view of a campaign, folded from the ledger: a rich screen on a terminal, plain lines otherwise."""

from __future__ import annotations

import time
from pathlib import Path
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from data.campaign_state import CampaignState
from data.ledger import LedgerReader
from data.metrics import utilisation_now
from nightlab.records import CampaignSpec, Decision, Event, IterationStatus, Rate

COLOURS = {Decision.KEEP: "green", Decision.REVERT: "red", Decision.INCONCLUSIVE: "yellow"}


class LiveView:
    """Follows one campaign's events; call `update` a few times a second."""

    def __init__(self, ledger: Path, campaign: str, spec: CampaignSpec, ui_url: str, console: Console) -> None:
        self.reader = LedgerReader(ledger)
        self.campaign = campaign
        self.state = CampaignState(spec=spec)
        self.ui_url = ui_url
        self.console = console
        self._seq = 0
        self._plain_s = 0.0
        self._live = Live(console=console, refresh_per_second=2, transient=True) if console.is_terminal else None

    def __enter__(self) -> LiveView:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def update(self) -> CampaignState:
        """Read the new events, redraw, and print a line for what a person should know."""
        for event in self.reader.events(campaign=self.campaign, since=self._seq):
            self._seq = max(self._seq, event.seq)
            before = self.state.incumbent
            self.state.apply(event)
            line = self._line(event, before)
            if line is not None:
                self.console.print(line)
        if self._live is not None:
            self._live.update(self._screen())
        elif time.monotonic() - self._plain_s > 30.0:
            self._plain_s = time.monotonic()
            self.console.print(self._status_line())
        return self.state

    def _line(self, event: Event, before: str) -> Text | None:
        idea = self.state.ideas.get(event.iteration)
        match event.kind:
            case "judged" if idea is not None and idea.judgement is not None:
                judgement = idea.judgement
                hypothesis = idea.proposal.hypothesis if idea.proposal else ""
                colour = COLOURS[judgement.decision]
                return Text.assemble(
                    (f"{idea.idea:>5} ", "bold"), (f"{judgement.decision.value.upper():<12} ", f"bold {colour}"),
                    hypothesis, (f"  {judgement.reason}", "dim"),
                )  # fmt: skip
            case "station_fault":
                return Text(f"station fault on {event.station}: {event.data.get('reason', '')}", style="bold red")
            case "tamper":
                return Text(f"TAMPERED: {event.data.get('reason', '')}", style="bold red")
            case "estop":
                return Text(f"e-stop: {event.data.get('reason', '')}", style="bold red")
            case "iteration_ended" if event.data.get("status") in (
                IterationStatus.CRASHED, IterationStatus.REJECTED, IterationStatus.INVALID
            ):  # fmt: skip
                return Text(
                    f"{event.iteration:>5} {event.data['status'].upper()}: {event.data.get('detail', '')[:160]}",
                    style="red",
                )
            case "campaign_ended":
                return Text(str(event.data.get("reason", "")), style="bold")
            case _:
                return None

    def _status_line(self) -> str:
        rate = self.state.rate(self.state.incumbent)
        left = max(0.0, self.state.deadline_wall_s - time.time())
        doing = ", ".join(
            f"{work.work.station} {work.work.iteration} {work.stage or 'claimed'}" for work in self.state.running
        )
        return (
            f"{self.state.episodes} episodes; incumbent {self.state.incumbent} {_rate(rate)}; "
            f"{_held_out(self.state)}robots busy {_share(utilisation_now(self.state))}; {left:.0f} s left; {doing}"
        )

    def _screen(self) -> Group:
        state, spec = self.state, self.state.spec
        elapsed = max(0.0, time.time() - state.started_s) if state.started_s else 0.0
        head = Table.grid(padding=(0, 2))
        head.add_row(
            "goal",
            f"[bold]{spec.environment}[/] on {spec.profile}, {spec.stations} stations at {spec.speed:g}× real time",
        )
        head.add_row(
            "incumbent", f"[bold]{state.incumbent}[/]  success {_rate(state.rate(state.incumbent))}  {_held_out(state)}"
        )
        head.add_row(
            "robots busy",
            f"{_share(utilisation_now(state))} of the time   {state.episodes} episodes   {state.unscored} unscored",
        )
        budget = Table.grid(padding=(0, 1))
        budget.add_row(
            ProgressBar(total=spec.budget_s, completed=min(elapsed, spec.budget_s), width=30),
            f"{elapsed:.0f} / {spec.budget_s:.0f} s",
        )
        head.add_row("budget", budget)
        head.add_row("Prefect UI", f"[link={self.ui_url}]{self.ui_url}[/]")
        table = Table(box=None, padding=(0, 2), header_style="dim")
        for column in ("station", "iteration", "work", "stage", "idea"):
            table.add_column(column)
        for work in state.running:
            item = work.work
            idea = state.ideas.get(item.iteration)
            hypothesis = idea.proposal.hypothesis if idea and idea.proposal else item.idea
            table.add_row(item.station, item.iteration, item.kind.value, work.stage or "…", hypothesis[:80])
        return Group(Panel(head, title=f"nightlab {state.spec.campaign}", border_style="cyan"), table)


def _rate(rate: Rate) -> str:
    return f"{rate.successes}/{rate.n} ({rate.wilson_low:.0%} – {rate.wilson_high:.0%})" if rate.n else "not measured"


def _held_out(state: CampaignState) -> str:
    draw = state.held_out
    return f"held-out {_rate(draw.rate)}; " if draw is not None else ""


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.0%}"
