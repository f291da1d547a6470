"""Experiments: solvers make truth, models learn it, charts merge them, and reports show it.

Read in this order: ``configs`` (what is run), ``pipeline`` (data, anchor, experts, calibration, evaluation),
``report`` (tables and pages), ``study`` (rows of runs), ``runner`` (processes, folders, logs).
"""

from ccm_jax._moved import keep_old_names

_STUDY = ("figures", "measures", "page", "published", "rows", "tables")
_WINGS = {
    "pipeline": "calibration checks data evaluation family networks readouts recorded stages store systems training",
    "report": "explorer figures readme results statistics",
    "runner": "locks logs progress runtime workdir",
    "study": "ablations controls convergence paths seeds",
}

keep_old_names(
    {"experiments.files": "ccm_jax.io.recordings", "experiments.cli": "ccm_jax.cli"}
    | {"experiments.study.statistics": "experiments.report.statistics"}
    | {f"experiments.study_{name}": f"experiments.study.{name}" for name in _STUDY}
    | {f"experiments.{name}": f"experiments.{wing}.{name}" for wing, names in _WINGS.items() for name in names.split()}
)
