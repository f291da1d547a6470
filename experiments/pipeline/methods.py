"""The registry of methods: every table, figure and page takes its list, names, colours and order from here.

A readout of one's own is registered by :func:`register_readout`, from a file that the configuration imports.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal, NamedTuple

Figure = Literal["by_regime", "over_time", "readme"]


class Method(NamedTuple):
    """One way to get weights for a regime, and how it is shown.

    Colours are Okabe and Ito's, safe for colour-blind readers, or as dark; those of the strongest alternatives, which
    the report draws beside them, are in :mod:`experiments.report.parameter_figure`.

    Attributes:
        label: name in figures and texts.
        colour: of its line.
        kind: ``"anchor"``, a reference for gains; ``"expert"``; ``"control"``, which should not work; ``"merge"``;
            ``"bound"``, chosen with the truth in hand.
        dash: matplotlib's style of its line.
        bold: whether its line is thick and has markers.
        heading: its column in the terminal and in the study's table of experiments; none if empty.
        source: what its coordinate comes from, with ``{frames}`` for the length of the prefix; methods that have one
            head the report.
        by_regime: its place in the figure of errors by regime, counted from the back; 0 if it is not drawn.
        over_time: the same for the figure of errors over time.
        readme: the same for the README's figure.
    """

    label: str
    colour: str
    kind: Literal["anchor", "expert", "control", "merge", "bound"]
    dash: Any = "-"
    bold: bool = False
    heading: str = ""
    source: str = ""
    by_regime: int = 0
    over_time: int = 0
    readme: int = 0


_SHORT = (0, (4, 2))

METHODS: dict[str, Method] = {
    "anchor": Method("anchor", "#000000", "anchor", bold=True, heading="anchor", by_regime=5, over_time=1, readme=3),
    "anchor_more": Method(
        "anchor, trained longer", "#8c8c8c", "anchor", "--", heading="anchor+", by_regime=4, over_time=2, readme=4
    ),
    "low": Method("low expert", "#56B4E9", "expert", _SHORT, by_regime=2),
    "high": Method("high expert", "#E69F00", "expert", _SHORT, by_regime=3),
    "average": Method(
        "endpoint average", "#A6761D", "merge", "-.", heading="average", by_regime=6, over_time=3, readme=2
    ),
    "wrong_sign": Method("wrong sign", "#D55E00", "control", ":", heading="wrong", by_regime=1, readme=1),
    "ccm_coord": Method(
        "CCM-Coord",
        "#0072B2",
        "merge",
        bold=True,
        heading="Coord",
        source="from metadata",
        by_regime=8,
        over_time=4,
        readme=5,
    ),
    "ccm_scale": Method(
        "CCM-Scale",
        "#7B4FA3",
        "merge",
        bold=True,
        heading="Scale",
        source="calibrated map",
        by_regime=7,
        over_time=5,
    ),
    "ccm_prefix": Method(
        "CCM-Prefix",
        "#009E73",
        "merge",
        bold=True,
        heading="Prefix",
        source="from {frames} frames",
        by_regime=9,
        over_time=6,
        readme=6,
    ),
    "ccm_prefix_paper": Method("CCM-Prefix, paper's bank", "#7fceb8", "merge", bold=True),
    "best": Method("best in hindsight", "#000000", "bound", ":", heading="best", by_regime=10, over_time=7),
}


class Regime(NamedTuple):
    """What a readout may look at.

    Attributes:
        config: the experiment.
        family: its weights, model and charts; a :class:`~experiments.pipeline.family.Family`.
        value: of the physical parameter; only readouts from metadata look at it.
        observed: frames ``[N, history + K, *space, C]`` of every test trajectory.
    """

    config: Any
    family: Any
    value: float
    observed: Any


READOUTS: dict[str, Callable[[Regime], Any]] = {}  # of users, by key


def register_readout(key: str, method: Method) -> Callable[[Callable[[Regime], Any]], Callable[[Regime], Any]]:
    """Registers ``read(regime) -> coordinates`` as a method that every table and figure shows.

    Coordinates are ``[N, 2]`` on the plane of coordinate and gate, one for each trajectory.

    Args:
        key: of the method; letters, digits and underscores.
        method: how it is shown.

    Raises:
        ValueError: if the key is taken by another readout.
    """

    def register(read: Callable[[Regime], Any]) -> Callable[[Regime], Any]:
        if key in METHODS and READOUTS.get(key) is not read:
            raise ValueError(f"register_readout: {key} is taken; choose another key than {', '.join(METHODS)}.")
        METHODS[key], READOUTS[key] = method, read
        return read

    return register


ANCHORS = tuple(key for key, method in METHODS.items() if method.kind == "anchor")


def reduced() -> tuple[str, ...]:
    """What gains are reported of, against the better of the anchors."""
    return tuple(key for key, method in METHODS.items() if method.kind in ("merge", "bound"))


def deployable() -> tuple[str, ...]:
    """What needs no truth."""
    return tuple(key for key, method in METHODS.items() if method.kind != "bound")


def columns(keys: Iterable[str]) -> dict[str, str]:
    """Headings of the methods among ``keys`` that have a column in narrow tables."""
    return {key: METHODS[key].heading for key in keys if METHODS[key].heading}


def drawn(figure: Figure) -> dict[str, Method]:
    """The methods of a figure, from the back of the picture to its front."""
    there = {key: getattr(method, figure) for key, method in METHODS.items()}
    return {key: METHODS[key] for key in sorted(there, key=lambda key: there[key]) if there[key]}


def headlines(frames: int) -> dict[str, str]:
    """The methods that head a report, with what their coordinate comes from; ``frames`` is the length of the prefix."""
    return {
        key: f"{method.label}, {method.source.format(frames=frames)}"
        for key, method in METHODS.items()
        if method.source
    }
