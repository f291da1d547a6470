"""What the study beyond the paper consists of: rows of minutes to two hours on a core."""

from __future__ import annotations

from experiments.study.rows import Row

ROWS: tuple[Row, ...] = (
    Row("rd_ood value", "rd_ood", "value"),
    Row("ns_ood value", "ns_ood", "value"),
    Row("rdb_gravity value", "rdb_gravity", "value"),
    Row("rd_ood noise", "rd_ood", "noise"),
    Row("ns_ood noise", "ns_ood", "noise"),
    Row("rdb_gravity noise", "rdb_gravity", "noise"),
    Row("rd_ood strangers", "rd_ood", "strangers"),
    Row("ns_ood strangers", "ns_ood", "strangers"),
    Row("rdb_gravity strangers", "rdb_gravity", "strangers"),
    Row("burgers", "burgers", "equation"),
    Row("ks", "ks", "equation"),
    Row("rd_3d", "rd_3d", "equation", (0,)),
    Row("drift", "ns_drift", "drift"),
    Row("rd_2d networks", "rd_2d", "two_axes_networks"),  # trained first: all in one would take too long
    Row("ns_2d networks", "ns_2d", "two_axes_networks"),
    Row("rd_2d plane", "rd_2d", "two_axes"),
    Row("ns_2d plane", "ns_2d", "two_axes"),
    Row("rd_ood experts", "rd_ood", "experts"),
    Row("ns_ood experts", "ns_ood", "experts"),
    Row("rdb_gravity experts", "rdb_gravity", "experts"),
    Row("rd_ood unlabelled", "rd_ood", "unlabelled"),
    Row("ns_ood unlabelled", "ns_ood", "unlabelled"),
)


# The same path in small: networks of sixty steps tell regimes of these systems apart.
SMOKE: tuple[str, ...] = ("ns_ood value", "rd_ood noise", "ns_ood strangers", "burgers", "ks", "rd_3d", "drift")
SMOKE += ("rd_2d networks", "rd_2d plane", "rd_ood experts", "rd_ood unlabelled")


def rows_of(size: str) -> list[Row]:
    """All rows; in the smoke size one seed of each kind and equation."""
    return [row._replace(seeds=row.seeds[:1]) for row in ROWS if row.name in SMOKE] if size == "smoke" else list(ROWS)
