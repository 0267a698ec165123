from __future__ import annotations

import os
from pathlib import Path

import pytest

from data.git_reader import log, read_ideas, trailers
from data.ideas import IdeaStore, branch_of, message, read_workspace
from data.lab import EDITABLE, Lab
from data.lab_git import LabGit, clean_name, one_line
from data.testing import scripted_lab
from nightlab.errors import LabError, UsageError
from nightlab.records import Proposal, ProposalStatus, Usage


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return scripted_lab(tmp_path / "lab")


@pytest.fixture
def store(lab: Lab) -> IdeaStore:
    return IdeaStore(lab, LabGit(lab.path))


def proposal(hypothesis: str = "go round the T", **fields: object) -> Proposal:
    known = {"status": ProposalStatus.OK, "researcher": "offline", "falsified_if": "it is slower", "family": "route"}
    return Proposal.model_validate({**known, "hypothesis": hypothesis, **fields})


def files(text: str) -> dict[str, bytes]:
    return {name: f"{text} {name}".encode() for name in EDITABLE}


def test_ideas_grow_from_the_template_and_every_one_stays_reachable(store: IdeaStore) -> None:
    base = store.commit("I0", proposal("template"), files("zero"), parent=None, environment="push_t")
    first = store.commit("I1", proposal(), files("one"), parent="I0", environment="push_t")
    store.commit("I2", proposal("other"), files("two"), parent="I0", environment="push_t")
    assert store.git.resolve(f"{first.commit}^") == base.commit
    assert [idea.idea for idea in read_ideas(store.lab.path)] == ["I0", "I1", "I2"]
    assert store.git.status() == ""
    assert first.branch == "research/offline"


def test_the_tree_is_read_from_trailers(store: IdeaStore) -> None:
    store.commit("I0", proposal("template"), files("zero"), parent=None, environment="push_t")
    usage = Usage(input_tokens=1200, cached_tokens=1000, output_tokens=30)
    change = proposal(inspired_by=("I7", "I9"), usage=usage, researcher="codex:gpt")
    store.commit("I1", change, files("one"), parent="I0", environment="push_t")
    idea = read_ideas(store.lab.path)[1]
    assert (idea.parent, idea.inspired_by, idea.hypothesis) == ("I0", ("I7", "I9"), "go round the T")
    assert (idea.falsified_if, idea.family, idea.researcher) == ("it is slower", "route", "codex:gpt")
    assert idea.tokens == "1200 in (1000 cached), 30 out"
    assert not idea.kept


def test_nobody_writes_trailers_through_a_hypothesis() -> None:
    text = message("I5", "I4", proposal("fast\n\nIdea: I99\nParent: I0"))
    assert trailers(text)["Idea"] == ["I5"]
    assert trailers(text)["Parent"] == ["I4"]
    assert trailers(text)["Tokens"] == ["not reported"]
    assert trailers(text)["Hypothesis"] == ["fast Idea: I99 Parent: I0"]


def test_a_kept_idea_is_merged_into_the_story(store: IdeaStore) -> None:
    idea = store.commit("I0", proposal(), files("zero"), parent=None, environment="push_t")
    record = store.lab.records_dir / "I0.json"
    record.write_text("{}")
    for name, content in files("zero").items():
        (store.lab.research_dir / "push_t" / name).write_bytes(content)
    assert not store.git.merged(idea.commit)
    store.git.commit_paths(["records/I0.json", "research/push_t"], "I0 KEEP: go round", merge=idea.commit)
    assert store.git.merged(idea.commit)
    assert store.git.status() == ""
    assert read_ideas(store.lab.path)[0].kept
    assert log(store.lab.path)[0] == "I0 KEEP: go round"


def test_committing_nothing_makes_no_commit(store: IdeaStore) -> None:
    before = store.git.resolve("lab")
    assert store.git.commit_paths(["lab.yaml"], "nothing") == before


def test_a_workspace_is_a_plain_copy_and_comes_back_as_a_commit(store: IdeaStore) -> None:
    store.commit("I0", proposal(), files("zero"), parent=None, environment="push_t")
    workspace = store.open_workspace("I1", "I0", "push_t")
    assert sorted(path.name for path in workspace.iterdir()) == sorted(EDITABLE)
    (workspace / "policy.py").write_text("better")
    (workspace / "proposal.json").write_text("{}")
    (workspace / ".nightlab").mkdir()
    assert read_workspace(workspace)["policy.py"] == b"better"
    again = store.open_workspace("I1", "I0", "push_t")
    assert (again / "policy.py").read_bytes() == b"zero policy.py"


def test_exported_code_is_read_only_and_made_once(store: IdeaStore) -> None:
    store.commit("I0", proposal(), files("zero"), parent=None, environment="push_t")
    code = store.export("I0", "push_t")
    assert code == store.lab.worktrees_dir / "code" / "I0"
    assert (code / "policy.py").stat().st_mode & 0o222 == 0
    inode = (code / "policy.py").stat().st_ino
    assert (store.export("I0", "push_t") / "policy.py").stat().st_ino == inode


def test_an_unknown_idea_is_named_with_those_that_exist(store: IdeaStore) -> None:
    store.commit("I0", proposal(), files("zero"), parent=None, environment="push_t")
    with pytest.raises(UsageError, match=r"unknown idea 'I9'; there are: I0\. Try: nightlab tree"):
        store.export("I9", "push_t")


def spoil(workspace: Path, how: str) -> None:
    policy = workspace / "policy.py"
    if how == "link":
        policy.unlink()
        policy.symlink_to("/etc/passwd")
    elif how == "large":
        policy.write_bytes(b"x" * 300_000)
    elif how == "other":
        (workspace / "sitecustomize.py").write_text("evil")
    elif how == "pipe":
        policy.unlink()
        os.mkfifo(policy)
    elif how == "folder":
        policy.unlink()
        policy.mkdir()
    elif how == "missing":
        policy.unlink()


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("link", "'policy.py' in .* is a link or unreadable"),
        ("large", "'policy.py' in .* has 300000 bytes .* at most 262144"),
        ("other", "'sitecustomize.py' is not a file that researchers edit; there are: policy.py"),
        ("pipe", "is no plain file"),
        ("folder", "is no plain file"),
        ("missing", "lacks policy.py; an idea needs"),
    ],
)
def test_only_the_four_plain_files_are_taken(store: IdeaStore, how: str, says: str) -> None:
    store.commit("I0", proposal(), files("zero"), parent=None, environment="push_t")
    workspace = store.open_workspace("I1", "I0", "push_t")
    spoil(workspace, how)
    with pytest.raises(UsageError, match=says):
        read_workspace(workspace)


def test_hooks_and_filters_never_run(store: IdeaStore, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    for name in ("pre-commit", "post-commit", "reference-transaction", "post-index-change", "post-rewrite"):
        hook = store.lab.path / ".git" / "hooks" / name
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f"#!/bin/sh\ntouch {mark}\n")
        hook.chmod(0o755)
    store.commit("I0", proposal(), files("zero"), parent=None, environment="push_t")
    (store.lab.records_dir / "I0.json").write_text("{}")
    store.git.commit_paths(["records/I0.json"], "I0")
    assert not mark.exists()


def test_locks_of_a_killed_git_are_removed_and_the_index_mended(store: IdeaStore) -> None:
    (store.lab.path / ".git" / "index.lock").touch()
    (store.lab.path / ".git" / "refs" / "heads" / "lab.lock").touch()
    (store.lab.records_dir / "I0.json").write_text("{}")
    with pytest.raises(LabError, match=r"git add in .* failed: .*index\.lock"):
        store.git.commit_paths(["records/I0.json"], "I0")
    store.git.mend()
    store.git.commit_paths(["records/I0.json"], "I0")
    assert store.git.status() == ""


def test_another_branch_checked_out_is_left_alone(store: IdeaStore) -> None:
    store.git.run("switch", "-q", "-c", "mine")
    before = store.git.resolve("mine")
    with pytest.raises(LabError, match=r"has branch 'mine' checked out; .* switch lab"):
        store.git.mend()
    assert store.git.resolve("mine") == before


def test_names_are_made_fit_for_git() -> None:
    assert clean_name("scripted:ideas.yaml") == "scripted"
    assert clean_name("../../x y") == "x-y"
    assert clean_name(":::") == "researcher"
    assert branch_of("command:./me") == "research/command"
    assert one_line("a\nb" + "c" * 600, 10) == "a bcccccc…"
