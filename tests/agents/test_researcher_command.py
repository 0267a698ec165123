"""A program as researcher: judged by its diff, contained, stopped at its deadline."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from agents import make_researcher
from agents.command import CommandResearcher
from agents.workspace import EDITABLE
from nightlab.errors import UsageError
from nightlab.records import Proposal, ProposalContext, ProposalStatus

Make = Callable[..., ProposalContext]


def run(program: str, context: ProposalContext, tmp_path: Path, budget_s: float = 20.0) -> Proposal:
    script = tmp_path / "agent.py"
    script.write_text(program)
    researcher = CommandResearcher([sys.executable, str(script)], budget_s=budget_s)
    return asyncio.run(researcher.propose(context))


def files(context: ProposalContext) -> set[str]:
    return {str(path.relative_to(context.workspace)) for path in Path(context.workspace).rglob("*")}


def test_edits_the_workspace_and_claims_a_hypothesis(make_context: Make, tmp_path: Path) -> None:
    program = """
import json, pathlib
told = json.loads(pathlib.Path('.nightlab/context.json').read_text())
assert told['incumbent'] == 'I0', told
assert '# Propose one idea' in pathlib.Path('.nightlab/prompt.md').read_text()
pathlib.Path('params.yaml').write_text('rate_hz: 12\\n')
pathlib.Path('scratch').mkdir(); pathlib.Path('scratch/notes').write_text('x')
pathlib.Path('proposal.json').write_text(json.dumps({
    'hypothesis': 'faster is better', 'family': 'tuning', 'inspired_by': ['I3'], 'usage': {'input_tokens': 40}}))
"""
    context = make_context()
    made = run(program, context, tmp_path)
    assert made.status is ProposalStatus.OK, made.detail
    assert made.hypothesis == "faster is better"
    assert (made.family, made.inspired_by, made.usage.input_tokens) == ("tuning", ("I3",), 40)
    assert made.usage.output_tokens is None
    assert "+rate_hz: 12" in made.diff
    assert made.params == {"rate_hz": 12}
    assert made.modules["sense"] == "sense_raw"
    assert files(context) == set(EDITABLE)


def test_without_an_edit_there_is_no_proposal(make_context: Make, tmp_path: Path) -> None:
    made = run("print('nothing to do')", make_context(), tmp_path)
    assert made.status is ProposalStatus.NO_CHANGE
    assert "nothing edited; last words: nothing to do" in made.detail


def test_a_crash_without_an_edit_is_a_crash_and_with_one_a_proposal(make_context: Make, tmp_path: Path) -> None:
    crashed = run("raise SystemExit('no key')", make_context(), tmp_path)
    assert crashed.status is ProposalStatus.CRASH
    assert "exit code 1" in crashed.detail
    assert "no key" in crashed.detail
    program = "print('HYPOTHESIS: a note helps'); open('notes.md', 'a').write('hm'); raise SystemExit(3)"
    edited = run(program, make_context(), tmp_path)
    assert edited.status is ProposalStatus.OK
    assert edited.hypothesis == "a note helps"
    assert "exit code 3" in edited.detail


def test_is_stopped_at_its_deadline(make_context: Make, tmp_path: Path) -> None:
    made = run("import time\nwhile True: time.sleep(1)", make_context(wall_left_s=1.0), tmp_path)
    assert made.status is ProposalStatus.TIMEOUT
    assert made.detail == "no proposal within 1 s"
    assert made.wall_s < 5.0


def test_a_link_in_place_of_an_editable_file_is_refused(make_context: Make, tmp_path: Path) -> None:
    program = "import os; os.unlink('policy.py'); os.symlink('/etc/hostname', 'policy.py')"
    made = run(program, make_context(), tmp_path)
    assert made.status is ProposalStatus.REFUSED_FROZEN
    assert "policy.py" in made.detail
    assert made.diff == ""


def test_a_changed_frozen_file_is_refused(make_context: Make, workspace: Path, tmp_path: Path) -> None:
    (workspace / "frozen.txt").write_text("as it was")
    made = run("open('frozen.txt', 'w').write('mine'); open('notes.md', 'w').write('')", make_context(), tmp_path)
    assert made.status is ProposalStatus.REFUSED_FROZEN
    assert made.detail == "changed what is not its own: frozen.txt"


def test_cannot_read_a_peer_or_reach_the_network(make_context: Make, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("key")
    program = f"""
import json, socket
found = {{}}
for name, act in {{
    'peer': lambda: open({str(secret)!r}).read(),
    'network': lambda: socket.create_connection(('127.0.0.1', 9), timeout=1),
}}.items():
    try:
        act(); found[name] = 'reached'
    except ConnectionRefusedError:
        found[name] = 'refused'
    except OSError as error:
        found[name] = 'denied'
open('notes.md', 'w').write(json.dumps(found))
"""
    from nightlab.sandbox import Sandbox

    if Sandbox().level == "rlimits":
        pytest.skip("no sandbox on this machine")
    made = run(program, make_context(), tmp_path)
    assert made.status is ProposalStatus.OK, made.detail
    told = json.loads((Path(make_context().workspace) / "notes.md").read_text())
    assert told["peer"] == "denied"
    assert told["network"] in ("denied", "refused")


def test_a_flood_of_output_is_cut(make_context: Make, tmp_path: Path) -> None:
    made = run("for _ in range(2000): print('x' * 10000)\nopen('notes.md', 'w').write('y')", make_context(), tmp_path)
    assert made.status is ProposalStatus.OK


def test_unreadable_proposal_json_is_told_and_ignored(make_context: Make, tmp_path: Path) -> None:
    program = "open('proposal.json', 'w').write('{'); open('notes.md', 'w').write('y')"
    made = run(program, make_context(), tmp_path)
    assert made.status is ProposalStatus.OK
    assert "proposal.json not used" in made.detail
    assert made.hypothesis == "The change of notes.md helps."


def test_specs_of_researchers(tmp_path: Path) -> None:
    made = make_researcher(f"command:{sys.executable} -c pass", seed=1)
    assert isinstance(made, CommandResearcher)
    assert made.argv[1:] == ["-c", "pass"]
    with pytest.raises(UsageError, match=r"no program 'no-such-thing' for the researcher; --researcher 'command:"):
        make_researcher("command:no-such-thing", seed=1)
    with pytest.raises(UsageError, match=r"unknown researcher 'oracle'; there are: command:PROGRAM ARGS, offline, scr"):
        make_researcher("oracle", seed=1)
    with pytest.raises(UsageError, match=r"no script 'missing.yaml'; --researcher scripted:FILE.yaml"):
        make_researcher("scripted:missing.yaml", seed=1)
