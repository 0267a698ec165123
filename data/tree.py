"""The tree of ideas, from git: as text for the terminal, as SVG for the report."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

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


@dataclass(frozen=True, slots=True)
class Node:
    """One idea of the tree."""

    idea: str
    parent: str | None
    inspired_by: tuple[str, ...]
    told: str
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
                told=told or ("where the search starts" if baseline else ""),
                word="keep" if baseline else (idea.decision.value if idea.decision else idea.status.value),
                result=f"{rate.successes}/{rate.n}" if rate.n else "not run",
                researcher=(commit.researcher if commit else "") or (proposal.researcher if proposal else ""),
            )
        )
    return found


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
    trunk = _trunk(ideas)
    places: dict[str, tuple[float, float]] = {}
    known = {node.idea for node in ideas}
    low = 40.0
    for root in (node for node in ideas if node.parent not in known):
        low = _place(ideas, root, 0, low, places, trunk) + ROW_PX
    columns = max((int((at[0] - 24) // COLUMN_PX) for at in places.values()), default=0) + 1
    svg = Svg(max(columns * COLUMN_PX + 40, 480), max(low, 120), "Tree of ideas")
    for node in ideas:
        here = places[node.idea]
        if node.parent in places:
            _edge(svg, places[node.parent], here, "edge trunk-edge" if node.idea in trunk else "edge")
        for other in node.inspired_by:
            if other in places and other != node.parent:
                _edge(svg, places[other], here, "edge inspired")
    for node in ideas:
        here = places[node.idea]
        by = f"\nby {node.researcher}" if node.researcher else ""
        tip = f"{node.idea}: {node.told}\n{node.word}, {node.result}{by}"
        big = node.idea in trunk
        svg.circle(here[0], here[1], 9 if big else 5.5, f"dot {node.word}", tip)
        if big:
            anchor = "middle" if here[0] > 40 else "start"
            svg.text(here[0], here[1] - 15, f"{node.idea} · {node.result}", "label strong", anchor)
        else:
            svg.text(here[0] + 10, here[1] + 4, f"{node.idea} {shorten(node.told, 18)}", "small")
    return svg.done()


def _place(
    ideas: Sequence[Node], node: Node, column: int, top: float, places: dict[str, tuple[float, float]], trunk: set[str]
) -> float:
    """Place a trunk node, its leaves below it and its kept children to the right; returns the lowest y used."""
    x = 24 + column * COLUMN_PX
    places[node.idea] = (x, top)
    low = top
    below: list[Node] = []
    right = top
    for child in _children(ideas, node.idea):
        if child.idea in trunk:
            right = _place(ideas, child, column + 1, right, places, trunk) + 2 * ROW_PX
        else:
            below += [child, *_all_below(ideas, child.idea)]
    for leaf in below:
        low += ROW_PX if low > top else 1.4 * ROW_PX
        places[leaf.idea] = (x + 22, low)
    return max(low, right - 2 * ROW_PX)


def _edge(svg: Svg, start: tuple[float, float], end: tuple[float, float], css: str) -> None:
    n = number
    if abs(start[1] - end[1]) < 1:
        svg.line(start[0], start[1], end[0], end[1], css)
    elif end[0] - start[0] < 40:
        svg.path(f"M{n(start[0])} {n(start[1])}V{n(end[1] - 8)}Q{n(start[0])} {n(end[1])} {n(start[0] + 8)} {n(end[1])}"
                 f"H{n(end[0])}", css)  # fmt: skip
    else:
        middle = n((start[0] + end[0]) / 2)
        curve = f"{middle} {n(start[1])} {middle} {n(end[1])} {n(end[0])} {n(end[1])}"
        svg.path(f"M{n(start[0])} {n(start[1])}C{curve}", css)


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
