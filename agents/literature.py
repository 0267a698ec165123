"""A small literature index: our own notes on published work, searched by full text, each tagged with idea families.

Ranking is SQLite FTS5's bm25 with the title weighted three times. A failure histogram adds the words that describe each
failure, in proportion to its share, so that passages about the failures at hand come first.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from pydantic import Field

from agents.workspace import load_yaml
from nightlab import cards
from nightlab.records import Passage
from nightlab.records.base import Record

BIBLIOGRAPHY = Path(__file__).with_name("bibliography.yaml")

FAILURE_WORDS: Mapping[str, str] = {
    "out_of_time": "time speed faster plan lookahead chunk",
    "policy_fault": "robust exception fallback",
}
"""What a reader would search for after a failure of any environment; the environment's own stand in its card, and a
failure without words is searched by its own name."""

_STOP = frozenset(
    (
        "a",
        "an",
        "and",
        "at",
        "by",
        "for",
        "from",
        "in",
        "into",
        "is",
        "it",
        "its",
        "of",
        "on",
        "or",
        "the",
        "to",
        "with",
    )
)


class Reference(Record):
    """One entry of the bibliography; `note` is in our own words: what to try on a robot."""

    id: str
    """`arXiv:…`, `doi:…` or a short key where the work has neither."""
    title: str
    authors: str
    year: int
    note: str
    families: tuple[str, ...] = Field(min_length=1)


class Literature:
    """Full-text index over a bibliography, in memory. Safe to use from one thread at a time."""

    def __init__(self, references: Sequence[Reference], failure_words: Mapping[str, str] = FAILURE_WORDS) -> None:
        self.references = tuple(references)
        self.failure_words = dict(failure_words)
        self._database = sqlite3.connect(":memory:", check_same_thread=False)
        self._database.execute(
            "CREATE VIRTUAL TABLE note USING fts5(title, body, families, tokenize='porter unicode61')"
        )
        self._database.executemany(
            "INSERT INTO note(rowid, title, body, families) VALUES (?, ?, ?, ?)",
            (
                (row, entry.title, entry.note, " ".join(entry.families).replace("_", " "))
                for row, entry in enumerate(self.references)
            ),
        )

    @classmethod
    def of(cls, environment: str) -> Literature:
        """The index for one environment, built once per process: our bibliography, what it adds, its failures' words.

        Raises:
            UsageError: no such environment.
            WorkspaceError: a bibliography cannot be read.
        """
        words = {name: kind.words for name, kind in cards.card(environment).failures.items() if kind.words}
        return _load(BIBLIOGRAPHY, cards.bibliography(environment), tuple(sorted({**FAILURE_WORDS, **words}.items())))

    @classmethod
    def load(cls, path: Path = BIBLIOGRAPHY) -> Literature:
        """The index over a bibliography file, built once per process.

        Raises:
            WorkspaceError: the file cannot be read.
        """
        return _load(path)

    def search(self, goal: str, failure_histogram: Mapping[str, int], k: int = 6) -> list[Passage]:
        """The `k` notes that fit the goal and the failures best, most relevant first.

        Relevance is in (0, 1]: 1 for the best note, the others in proportion to their weighted bm25.
        """
        scores: dict[int, float] = {}
        for weight, words in self._queries(goal, failure_histogram):
            for row, score in self._match(words, limit=4 * k):
                scores[row] = scores.get(row, 0.0) + weight * score
        best = max(scores.values(), default=1.0)
        ranked = sorted(scores, key=lambda row: (-scores[row], row))[:k]
        return [self._passage(row, scores[row] / best) for row in ranked]

    def _queries(self, goal: str, histogram: Mapping[str, int]) -> list[tuple[float, list[str]]]:
        """Weighted bags of words: the goal with weight 1, the failures together with weight 2."""
        queries = [(1.0, _words(goal))]
        total = sum(count for count in histogram.values() if count > 0)
        for failure, count in sorted(histogram.items()):
            if count > 0:
                words = self.failure_words.get(failure, failure.replace("_", " "))
                queries.append((2.0 * count / total, _words(words)))
        return queries

    def _match(self, words: Sequence[str], limit: int) -> list[tuple[int, float]]:
        """Row and positive bm25 of the notes that hold any of the words."""
        if not words:
            return []
        query = " OR ".join(f'"{word}"' for word in words)
        rows = self._database.execute(
            "SELECT rowid, -bm25(note, 3.0, 1.0, 1.0) FROM note WHERE note MATCH ? ORDER BY 2 DESC, 1 LIMIT ?",
            (query, limit),
        )
        return [(int(row), float(score)) for row, score in rows]

    def _passage(self, row: int, relevance: float) -> Passage:
        entry = self.references[row]
        return Passage(
            source=entry.id,
            title=f"{entry.title} ({entry.authors}, {entry.year})",
            text=entry.note,
            families=entry.families,
            relevance=round(relevance, 4),
        )


@cache
def _load(
    path: Path, more: Path | None = None, words: tuple[tuple[str, str], ...] = tuple(FAILURE_WORDS.items())
) -> Literature:
    found = [path] if more is None else [path, more]
    entries = [entry for file in found for entry in load_yaml(file.read_text(), file.name)]
    return Literature([Reference.model_validate(entry) for entry in entries], dict(words))


def _words(text: str) -> list[str]:
    """Distinct words of a text in order, without the commonest."""
    return [word for word in dict.fromkeys(re.findall(r"[a-z0-9]+", text.lower())) if word not in _STOP]
