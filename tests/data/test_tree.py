from __future__ import annotations

import xml.etree.ElementTree as ET

from data.tree import BEND_PX, COLUMN_PX, Node, draw_svg, draw_text, short_of


def node(idea: str, parent: str | None, word: str, told: str = "", inspired_by: tuple[str, ...] = ()) -> Node:
    return Node(
        idea=idea,
        parent=parent,
        inspired_by=inspired_by,
        told=told or f"try {idea}",
        short=f"s {idea}",
        word=word,
        result="3/10",
    )


IDEAS = [
    node("I0", None, "keep", "where the search starts"),
    node("I1", "I0", "revert"),
    node("I2", "I0", "keep"),
    node("I3", "I2", "inconclusive"),
    node("I4", "I2", "keep", inspired_by=("I3",)),
    node("I5", "I3", "crashed"),
]


def test_the_text_tree_runs_down_its_trunk() -> None:
    assert draw_text(IDEAS).splitlines() == [
        "● I0  where the search starts  [keep, 3/10]",
        "├─ ✗ I1  try I1  [revert, 3/10]",
        "● I2  try I2  [keep, 3/10]",
        "├─ ○ I3  try I3  [inconclusive, 3/10]",
        "│  └─ · I5  try I5  [crashed, 3/10]",
        "● I4  try I4  [keep, 3/10]  ⇠ I3",
    ]


def test_an_empty_tree_says_so() -> None:
    assert draw_text([]) == "no ideas yet"


def test_the_drawing_has_every_idea_and_its_edges() -> None:
    root = ET.fromstring(draw_svg(IDEAS))
    tips = [title.text or "" for title in root.iter("title")]
    assert [tip.split(":")[0] for tip in tips] == [idea.idea for idea in IDEAS]
    classes = [element.get("class") for element in root]
    assert classes.count("edge trunk-edge") == 2
    assert classes.count("edge inspired") == 1
    assert classes.count("edge") == 3


def test_the_line_to_a_lower_kept_idea_runs_past_what_hangs_below_its_parent() -> None:
    many = [*IDEAS, *(node(f"I{n}", "I0", "revert") for n in range(10, 60)), node("I99", "I0", "keep")]
    root = ET.fromstring(draw_svg(many))
    lines = [line for line in root.iter("line") if line.get("class") == "edge trunk-edge"]
    right_px = 24 + 5 * COLUMN_PX  # 51 leaves in five columns
    assert sorted(float(line.get("x2", 0)) for line in lines if line.get("x1") == "24") == [
        right_px - BEND_PX,
        right_px,
    ]


def test_a_wide_tree_is_not_made_small() -> None:
    many = [*IDEAS, *(node(f"I{n}", "I0", "revert") for n in range(10, 90))]
    root = ET.fromstring(draw_svg(many))
    assert root.get("style") == f"width:{(root.get('viewBox') or '').split()[2]}px"


def test_no_two_ideas_stand_in_one_place() -> None:
    many = [*IDEAS, *(node(f"I{n}", "I4", "revert") for n in range(10, 60)), node("I99", "I0", "keep")]
    root = ET.fromstring(draw_svg(many))
    places = [(circle.get("cx"), circle.get("cy")) for circle in root.iter("circle")]
    assert len(set(places)) == len(many)


def test_hypotheses_are_escaped() -> None:
    root = ET.fromstring(draw_svg([node("I0", None, "keep", "a < b & c")]))
    assert any("a < b & c" in (title.text or "") for title in root.iter("title"))


def test_changes_are_named_in_a_few_words() -> None:
    assert short_of({"slot": "route", "module": "route_around"}) == "route: around"
    assert short_of({"knob": "lead_px", "value": 12.3456}) == "lead_px 12.3"
    assert short_of({"patch": 1}) == ""


def test_two_roots_are_both_drawn() -> None:
    text = draw_text([node("I0", None, "keep"), node("I7", None, "keep"), node("I8", "I7", "revert")])
    assert [line[2:4] for line in text.splitlines() if line.startswith("●")] == ["I0", "I7"]
