"""The tree of ideas, from git: as text for the terminal, as SVG for the report."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from data.campaign_state import CampaignState
from data.git_reader import read_ideas
from data.plots import Svg, number, shorten
from data.report_data import read_campaign
from nightlab.records import Decision

if TYPE_CHECKING:
    from data.lab import Lab

MARKS = {"keep": "●", "revert": "✗", "inconclusive": "○"}
"""Decision → mark in the text tree; anything else is `·`."""
COLUMN_PX, ROW_PX = 170.0, 26.0
BEND_PX = 40.0
"""Width of the bend in the line to a kept idea that stands lower than its parent."""
LEAVES = 12
"""Leaves below each other before the next column begins."""


@dataclass(frozen=True, slots=True)
class Node:
    """One idea of the tree."""

    idea: str
    parent: str | None
    inspired_by: tuple[str, ...]
    told: str
    short: str
    """The change in a few words: `route: around`."""
    word: str
    """Its decision, or how far it came: `keep`, `revert`, `inconclusive`, `crashed`, …"""
    result: str
    researcher: str = ""


def nodes(lab: Lab | None, state: CampaignState) -> list[Node]:
    """The campaign's ideas in the order they were made. Parents, hypotheses and inspiration come from git.

    Without a lab (tests) the ledger's own copy of the proposals is used.
    """
    found = []
    in_git = {idea.idea: idea for idea in read_ideas(lab.path)} if lab is not None else {}
    for idea in state.ideas.values():
        commit = in_git.get(idea.idea)
        if idea.proposal is None and commit is None:
            continue
        proposal = idea.proposal
        baseline = idea.idea == state.baseline
        rate = state.rate(idea.idea)
        told = (commit.hypothesis if commit else "") or (proposal.hypothesis if proposal else "")
        found.append(
            Node(
                idea=idea.idea,
                parent=commit.parent if commit else idea.parent,
                inspired_by=commit.inspired_by if commit else (proposal.inspired_by if proposal else ()),
                short=short_of(proposal.mutation if proposal else {}) or told,
                told=told or ("where the search starts" if baseline else ""),
                word="keep" if baseline else (idea.decision.value if idea.decision else idea.status.value),
                result=f"{rate.successes}/{rate.n}" if rate.n else "not run",
                researcher=(commit.researcher if commit else "") or (proposal.researcher if proposal else ""),
            )
        )
    return found


def short_of(mutation: dict[str, Any]) -> str:
    """A mutation in a few words; empty if it is of an unknown form."""
    if "slot" in mutation and "module" in mutation:
        slot, module = str(mutation["slot"]), str(mutation["module"])
        return f"{slot}: {module.removeprefix(slot + '_').replace('_', ' ')}"
    if "knob" in mutation:
        value = mutation.get("value")
        return f"{mutation['knob']} {value:.3g}" if isinstance(value, int | float) else str(mutation["knob"])
    return ""


def text_tree(lab: Lab, campaign: str) -> str:
    """The tree as lines of text: mark, idea, what it tried, decision, successes; `⇠` names what inspired it.

    Raises:
        UsageError: the lab has no such campaign.
    """
    spec, events = read_campaign(lab, campaign)
    return draw_text(nodes(lab, CampaignState.from_events(spec, events)))


def draw_text(ideas: Sequence[Node]) -> str:
    """The tree of nodes as text; children that were kept come last, so that the trunk runs down."""
    if not ideas:
        return "no ideas yet"
    lines: list[str] = []
    trunk = _trunk(ideas)

    def show(node: Node, prefix: str, joint: str, below: str) -> None:
        mark = MARKS.get(node.word, "·")
        inspired = f"  ⇠ {', '.join(node.inspired_by)}" if node.inspired_by else ""
        lines.append(f"{prefix}{joint}{mark} {node.idea}  {node.told}  [{node.word}, {node.result}]{inspired}")
        children = sorted(_children(ideas, node.idea), key=lambda child: child.idea in trunk)
        for index, child in enumerate(children):
            last = index == len(children) - 1
            if last and child.idea in trunk:
                show(child, prefix + below, "", "")
            else:
                show(child, prefix + below, "└─ " if last else "├─ ", "   " if last else "│  ")

    known = {node.idea for node in ideas}
    for root in (node for node in ideas if node.parent not in known):
        show(root, "", "", "")
    return "\n".join(lines)


def draw_svg(ideas: Sequence[Node]) -> str:
    """The tree as SVG: kept ideas run from left to right, what was tried on each hangs below it."""
    layout = _Layout(ideas, _trunk(ideas), {}, {})
    known = {node.idea for node in ideas}
    low = 40.0
    for root in (node for node in ideas if node.parent not in known):
        low = layout.place(root, 24.0, low) + 2 * ROW_PX
    width = max((x for x, _ in layout.places.values()), default=0.0) + COLUMN_PX
    svg = Svg(max(width, 480), max(low - ROW_PX, 80), "Tree of ideas")
    for node in ideas:
        if node.parent in layout.places:
            layout.edge(svg, node)
        for other in node.inspired_by:
            if other in layout.places and other != node.parent:
                _curve(svg, layout.places[other], layout.places[node.idea], "edge inspired")
    for node in ideas:
        x, y = layout.places[node.idea]
        by = f"\nby {node.researcher}" if node.researcher else ""
        tip = f"{node.idea}: {node.told}\n{node.word}, {node.result}{by}"
        if node.idea in layout.trunk:
            svg.circle(x, y, 9, f"dot {node.word}", tip)
            svg.text(x, y - 15, f"{node.idea} · {node.result}", "label strong", "middle" if x > 40 else "start")
        else:
            svg.circle(x, y, 5.5, f"dot {node.word}", tip)
            svg.text(x + 10, y + 4, f"{node.idea} {shorten(node.short, 18)}", "small")
    return svg.done(scrolls=True)


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where the nodes stand, px."""

    ideas: Sequence[Node]
    trunk: set[str]
    places: dict[str, tuple[float, float]]
    stems: dict[str, float]
    """Leaf → x of the vertical line that it hangs on."""

    def place(self, node: Node, x: float, top: float) -> float:
        """Place a trunk node, its leaves below it and its kept children to the right; returns the lowest y used."""
        self.places[node.idea] = (x, top)
        kept = [child for child in _children(self.ideas, node.idea) if child.idea in self.trunk]
        kept.sort(key=lambda child: -len(_all_below(self.ideas, child.idea)))
        leaves = [
            leaf
            for child in _children(self.ideas, node.idea)
            if child.idea not in self.trunk
            for leaf in (child, *_all_below(self.ideas, child.idea))
        ]
        for number_, leaf in enumerate(leaves):
            column, row = divmod(number_, LEAVES)
            self.stems[leaf.idea] = x + column * COLUMN_PX
            self.places[leaf.idea] = (x + column * COLUMN_PX + 22, top + (row + 1.6) * ROW_PX)
        low = top + (min(len(leaves), LEAVES) + 0.6) * ROW_PX if leaves else top
        right_top = top
        for child in kept:
            columns = max(1, -(-len(leaves) // LEAVES))
            child_low = self.place(child, x + columns * COLUMN_PX, right_top)
            low, right_top = max(low, child_low), child_low + 2 * ROW_PX
        return low

    def edge(self, svg: Svg, node: Node) -> None:
        """The line from a node's parent."""
        x, y = self.places[node.idea]
        px, py = self.places[node.parent or ""]
        if node.idea not in self.stems:
            if y > py:  # along the top, past what hangs below the parent
                svg.line(px, py, x - BEND_PX, py, "edge trunk-edge")
                px = x - BEND_PX
            _curve(svg, (px, py), (x, y), "edge trunk-edge")
            return
        n, stem = number, self.stems[node.idea]
        down = f"V{n(y - 8)}Q{n(stem)} {n(y)} {n(stem + 8)} {n(y)}H{n(x)}"
        across = f"V{n(py + 0.8 * ROW_PX)}H{n(stem)}" if stem > px else ""
        svg.path(f"M{n(px)} {n(py)}{across}{down}", "edge")


def _curve(svg: Svg, start: tuple[float, float], end: tuple[float, float], css: str) -> None:
    n = number
    if abs(start[1] - end[1]) < 1:
        svg.line(start[0], start[1], end[0], end[1], css)
        return
    middle = n((start[0] + end[0]) / 2)
    svg.path(f"M{n(start[0])} {n(start[1])}C{middle} {n(start[1])} {middle} {n(end[1])} {n(end[0])} {n(end[1])}", css)


def _children(ideas: Iterable[Node], parent: str) -> list[Node]:
    return [node for node in ideas if node.parent == parent]


def _all_below(ideas: Sequence[Node], idea: str) -> list[Node]:
    return [found for child in _children(ideas, idea) for found in (child, *_all_below(ideas, child.idea))]


def _trunk(ideas: Sequence[Node]) -> set[str]:
    """Kept ideas, the roots, and whatever leads to them."""
    by_name = {node.idea: node for node in ideas}
    trunk: set[str] = set()
    for node in ideas:
        if node.word == Decision.KEEP.value or node.parent not in by_name:
            at: Node | None = node
            while at is not None and at.idea not in trunk:
                trunk.add(at.idea)
                at = by_name.get(at.parent or "")
    return trunk
