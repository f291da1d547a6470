"""Experiments: solvers make truth, models learn it, charts merge them, and reports show it.

Read in this order: ``configs`` (what is run), ``pipeline`` (data, anchor, experts, calibration, evaluation),
``report`` (tables and pages), ``study`` (rows of runs), ``runner`` (processes, folders, logs).
"""
