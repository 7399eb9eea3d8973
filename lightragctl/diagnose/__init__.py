"""Diagnoses a release: collects facts once, evaluates checks, folds findings into root causes."""
