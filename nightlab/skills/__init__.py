"""Skills of a two-armed station: pure generators of actions from observations, shared by resets and policies."""
