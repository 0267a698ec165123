"""What happened, kept: the keeper, ledger, episodes, versions, statistics, decisions, measures and reports."""
