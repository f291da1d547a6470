"""Experiments: solvers make truth, models learn it, charts merge them, and reports show it."""
