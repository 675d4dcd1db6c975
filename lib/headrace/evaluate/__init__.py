"""How good a learner is on samples that it was not fitted on: splits, metrics, selection, the gate of a promotion."""
