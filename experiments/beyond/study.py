"""The study beyond the paper: which module measures which kind of row."""

from __future__ import annotations

from experiments.beyond.rows import rows_of
from experiments.study.kept import Wing, study_of

VERSION = 1
MEASURES = {
    "value": "values",
    "noise": "noise",
    "strangers": "strangers",
    "equation": "equations",
    "drift": "drift",
    "two_axes_networks": "two_axes",
    "two_axes": "two_axes",
    "experts": "experts",
    "unlabelled": "unlabelled",
}

STUDY = study_of(Wing("beyond", MEASURES, rows_of, lambda: [VERSION]))
