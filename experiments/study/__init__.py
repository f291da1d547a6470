"""Rows of experiments over seeds, with controls and ablations: ``python -m experiments.study --config=paper``."""
