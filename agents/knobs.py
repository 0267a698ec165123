"""Numeric knobs: one Optuna TPE study per structure, rebuilt from the ledger at each proposal.

The study lives in memory only; its trials are the ideas with the same modules. One knob changes at a time: the others
are fixed at the incumbent's values, so that a trial says what that knob did. Pending ideas enter as running trials
(TPE's constant liar). Optuna is imported on the first numeric proposal.
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Mapping
from typing import Any

from agents.catalogue import Knob
from agents.history import History, worth
from agents.recipe import Recipe
from nightlab.records import IdeaSummary

STARTUP_TRIALS = 3
"""Trials of a structure before TPE's model is used; before that the value is drawn over the knob's whole range."""
SCORE_WEIGHT = 0.3
"""Objective = success rate + this × mean score: the score leads where nothing succeeds yet."""


def objective(idea: IdeaSummary) -> float | None:
    """What the study maximises, in [0, 1.3]; None for an idea without scored episodes."""
    if not idea.n:
        return None
    return idea.successes / idea.n + SCORE_WEIGHT * (idea.mean_score or 0.0)


def focus(history: History, rng: random.Random, taste: Mapping[str, float]) -> list[str]:
    """The knobs of the modules in use, the one to try first in front.

    Thompson sampling per knob (Beta posterior from the trials of that knob, uniform prior, pending = half a failure),
    times the taste in [0, 1] for its module's family.
    """
    ranked: list[tuple[float, str]] = []
    for name, (slot, knob) in sorted(history.incumbent.knobs(history.catalogue).items()):
        if knob.low == knob.high:
            continue
        alpha = beta = 1.0
        for idea in history.ideas:
            if idea.mutation.get("knob") == name:
                value = worth(idea)
                alpha += value or 0.0
                beta += 0.5 if value is None else 1.0 - value
        module = history.catalogue.module(slot, history.incumbent.modules[slot])
        family = module.families[0] if module else ""
        liking = 0.5 + 0.5 * taste.get(family, 0.5)
        ranked.append((rng.betavariate(alpha, beta) * liking, name))
    return [name for _, name in sorted(ranked, reverse=True)]


def suggest(history: History, knob: str, seed: int) -> float:
    """A value for one knob, by TPE over the trials of this structure with the other knobs fixed."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    bounds = {name: found for name, (_, found) in history.incumbent.knobs(history.catalogue).items()}
    now = history.incumbent.values(history.catalogue)
    space = {name: _distribution(optuna, found) for name, found in bounds.items()}
    fixed = {name: bounds[name].value(value) for name, value in now.items() if name != knob}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tpe = optuna.samplers.TPESampler(
            seed=seed, n_startup_trials=STARTUP_TRIALS, n_ei_candidates=32, constant_liar=True, consider_endpoints=True
        )
        study = optuna.create_study(direction="maximize", sampler=optuna.samplers.PartialFixedSampler(fixed, tpe))
        for params, value in _trials(history):
            state = optuna.trial.TrialState.RUNNING if value is None else optuna.trial.TrialState.COMPLETE
            study.add_trial(
                optuna.trial.create_trial(
                    state=state,
                    value=value,
                    params={name: bounds[name].value(params[name]) for name in space},
                    distributions=space,
                )
            )
        return bounds[knob].value(float(study.ask(space).params[knob]))


def _trials(history: History) -> list[tuple[dict[str, float], float | None]]:
    """Values in force and objective (None while pending) of every idea with the incumbent's modules."""
    modules = dict(history.incumbent.modules)
    same = [idea for idea in history.ideas if idea.modules == modules]
    return [(Recipe(idea.modules, idea.params).values(history.catalogue), objective(idea)) for idea in same]


def _distribution(optuna: Any, knob: Knob) -> Any:
    if knob.int:
        return optuna.distributions.IntDistribution(int(knob.low), int(knob.high), log=knob.log)
    return optuna.distributions.FloatDistribution(knob.low, knob.high, log=knob.log)
