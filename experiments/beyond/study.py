"""The study past the paper: which module measures which kind of row."""

from __future__ import annotations

from experiments.beyond.rows import rows_of
from experiments.study.kept import Wing, study_of

VERSION = 1
MEASURES = {
    "value": "values",
    "experts": "experts",
    "unlabelled": "unlabelled",
}

STUDY = study_of(Wing("beyond", MEASURES, rows_of, lambda: [VERSION]))
