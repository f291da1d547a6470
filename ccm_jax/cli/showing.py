"""A calibration in the terminal: the coordinate, its yardsticks, how sure it is, and what was tried."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rich.table import Table

from ccm_jax._checks import counted
from ccm_jax._given import HIGHEST_GATE
from ccm_jax._shown import shown_p, typical
from ccm_jax.cli.checkpoints import warn
from ccm_jax.cli.console import console, say
from ccm_jax.cli.prefix import Found
from ccm_jax.cli.steps import over_all
from ccm_jax.cli.sure import NOISE, Sure

HARDLY = 0.95  # of the error of the anchor, or of an expert: a merge with more hardly fits the observed frames better
BAR = 40  # characters of the longest bar


def why_at_end(found: Found) -> str:
    """What a coordinate at the edge of the search range says, with what to look at."""
    banked = found.readout.get("search") == "bank"
    further = "Pass a wider --bank" if banked else "If the value may lie further out, try --reach 4"
    check = (
        f"{further}; otherwise, check that grid, time step, units, and the order of channels and axes are those of the "
        "training data."
    )
    if found.clue:
        check = f"Check the time step: {over_all(found.clue)}"
    return f"the coordinate is at the edge of the search range; the optimum may lie outside. {check}"


def typed(coordinate: Sequence[float], axes: int) -> str:
    """A coordinate for the terminal; what comes after its axes is the gate."""
    gate = "".join(f", gate {c:.2f}" for c in coordinate[axes:])
    return ", ".join(f"{c:+.2f}" for c in coordinate[:axes]) + gate


def scored(readout: Mapping[str, Any], frames: int) -> str:
    """The observed frames whose errors are compared, in words."""
    left = frames - int(readout.get("begin", 0))
    if left >= frames:
        return "the observed frames"
    return "the last observed frame, one step ahead" if left == 1 else f"the last {left} observed frames"


def number(error: float) -> str:
    """An error for the terminal; one that four digits would show as 0 keeps two of its own."""
    if not np.isfinite(error):
        return "infinite"
    return f"{error:.4f}" if error >= 1e-3 or error == 0 else f"{error:.1e}"


def percent(error: float) -> str:
    """An error for a picture.

    Example:
        >>> percent(0.0291), percent(0.74), percent(float("inf"))
        ('2.9 %', '74 %', 'infinite')
    """
    return f"{100 * error:.2g} %" if error < 10 else f"{error:.1e}" if np.isfinite(error) else "infinite"


def observed(missing: int, points: int) -> str:
    """How many of the points are not observed, in words.

    Example:
        >>> observed(3, 5120)
        'All but 3 of 5120 points are observed; the others are filled in'
        >>> observed(0, 5120), observed(2048, 5120)
        ('All points are observed', '60 % of the points are observed; the others are filled in')
    """
    if not missing:
        return "All points are observed"
    seen = points - missing
    said = f"{100 * seen / points:.0f} % of the points"
    if seen < 0.01 * points:
        said = f"{seen} of {points} points"
    elif missing < 0.01 * points:
        said = f"All but {missing} of {points} points"
    return f"{said} are observed; the others are filled in"


KEPT = "The anchor is kept"
WRITTEN = "The anchor should be kept, and the merge is written only because of --write-anyway"


def why_stranger(sure: Sure, kept: str = f"{KEPT}.", *, gaps: bool = False) -> str:
    """The line for frames that no point of the chart explains: what may be the reason, and what is kept then."""
    filled = ", and whether the fill restores the gaps" * gaps
    return (
        f"No point of this chart explains these frames ({shown_p(sure.p_value)} against the validation regimes). "
        f"Check equation, forcing, walls, units and the order of x and y (--axes){filled}. {NOISE} {kept}"
    )


def why_refuted(found: Found, kept: str = KEPT) -> str:
    """The line for frames that no point of the chart explains, at the rim or with another time step."""
    assert found.sure is not None
    rim = "the coordinate is at the edge of the search range, and " * found.at_end_of_search
    further = (
        "if the value may lie further out, try --reach 4, which also changes p; otherwise, " * found.at_end_of_search
    )
    check = f"{further}check that time step, grid, units, and the order of channels and axes (--axes) are those of the "
    check += f"training data. {NOISE}"
    if found.clue:
        check = over_all(found.clue)
    ratio = found.loss / found.anchor_loss
    but = f", though the merge has {ratio:.2g} times its error" * bool(ratio < 1)
    said = f"{rim}no point of this chart explains these frames ({shown_p(found.sure.p_value)}): {check}"
    return f"{said} {kept}{but}."


def why_kept(found: Found) -> str:
    """Why a merge is kept though no point of the chart explains the frames."""
    ratio = found.loss / found.anchor_loss
    return (
        f"The merge is still better than the anchor: its error is {ratio:.2g} times the anchor's. Compare both on "
        "held-out frames (ccm evaluate)."
    )


def show_candidates(found: Found, axes: int) -> None:
    """The losses of what was tried first, as bars."""
    losses = np.asarray(found.losses)
    finite = losses[np.isfinite(losses)]
    say(f"Error at the coarse candidates ({scored(found.readout, found.frames).removeprefix('the ')}):")
    for c, loss in zip(found.candidates, losses, strict=True):
        bar = "diverges"
        if np.isfinite(loss):
            bar = "█" * max(1, round(BAR * loss / max(float(finite.max()), 1e-30))) + f" {loss:#.4g}"
        say(f"  {typed(c, axes)}  {bar}")


def show(
    found: Found,
    axes: int,
    *,
    written: bool = False,
    experts: Sequence[str] = ("low expert", "high expert"),
) -> None:
    """The coordinate and its yardsticks, and how sure it is.

    Args:
        found: by the readout.
        axes: of the chart, without its gate.
        written: whether the merge is written even where the anchor is the answer.
        experts: what they are called.
    """
    kept = WRITTEN if written else KEPT
    gated = any(len(c) > axes for c in (found.coordinate, *found.candidates))
    of, gaps = scored(found.readout, found.frames), bool(found.readout.get("missing"))
    if "observed" in found.readout:
        fill = f" ({found.readout['fill']})" * bool(found.readout["missing"])
        say(f"{observed(found.readout['missing'], found.readout['points'])}{fill}.")
    spread = "" if found.spread is None else f", ± {found.spread:.2f} over {len(found.choices)} trajectories"
    if found.refuted:
        warn(why_refuted(found, kept))
        say(f"the best merge is at {typed(found.coordinate, axes)}{spread}")
    elif found.sure is not None and found.sure.stranger and not found.keeps_anchor:
        say(why_stranger(found.sure, why_kept(found), gaps=gaps))
        say(f"coordinate {typed(found.coordinate, axes)}{spread}")
    elif found.sure is not None and found.sure.stranger:
        say(why_stranger(found.sure, f"{kept}.", gaps=gaps))
        say(f"the best merge is at {typed(found.coordinate, axes)}{spread}")
    elif not np.isfinite(found.loss):
        say("Every merge diverges on these frames: keep the anchor.")
    elif found.keeps_anchor and found.at_end_of_search and found.loss < found.anchor_loss:
        ratio = found.loss / found.anchor_loss
        warn(f"{why_at_end(found)} Its error is {ratio:.2g} times the anchor's. {kept}.")
        say(f"the best merge is at {typed(found.coordinate, axes)}{spread}")
    elif found.keeps_anchor and found.clue and found.loss < found.anchor_loss:
        warn(f"check the time step: {over_all(found.clue)} {kept}.")
        say(f"the best merge is at {typed(found.coordinate, axes)}{spread}")
    elif found.keeps_anchor:
        better = f" {WRITTEN}." * written
        say(f"The anchor fits these frames at least as well as any merge: keep it.{better}")
        say(f"the best merge is at {typed(found.coordinate, axes)}, error {number(found.loss)}")
    else:
        say(f"coordinate {typed(found.coordinate, axes)}{spread}")
    others = {"anchor": found.anchor_loss, **dict(zip(experts, found.expert_losses, strict=False))}
    best = min((name for name in others if np.isfinite(others[name])), key=others.__getitem__, default="anchor")
    if not found.keeps_anchor and found.loss > HARDLY * others[best]:
        gain = 100 * (1 - found.loss / others[best])
        than = f"only {gain:.1f} % better than" if gain > 0 else "no better than"
        warn(f"the merge fits these frames {than} the {best}: compare both (ccm evaluate).")
    if gated:
        say("(gate: factor on the shared update; 0 = none of it, 1 = all, above 1 = more)")
        if not found.keeps_anchor and found.gate_at_end:
            warn(
                f"the gate is {found.coordinate[-1]:g}, {HIGHEST_GATE} (ccm evaluate), beside one at gate 1 (ccm merge "
                "--coordinate)."
            )
    errors = {"merged": found.loss, "anchor": found.anchor_loss}
    errors |= dict(zip(experts, found.expert_losses, strict=False))
    errors["last frame repeated"] = found.persistence_loss
    say(f"error on {of}: {', '.join(f'{name} {number(error)}' for name, error in errors.items())}")
    show_validated(found.readout)
    fits = found.loss < found.anchor_loss and found.sure is None
    if found.clue and not (found.refuted or found.at_end_of_search or fits):
        warn(f"check the time step: {over_all(found.clue)}")
    if found.at_end_of_search and not found.keeps_anchor:
        warn(f"{why_at_end(found)} Check the merge on held-out frames (ccm evaluate).")
    if found.moved_toward_anchor and not found.keeps_anchor:
        say("The coordinate was moved toward the anchor, because the rollout at the best fit grows beyond the frames.")
    if found.sure is None:
        say(f"No interval: {found.unsure}")
    elif not (found.sure.stranger and found.keeps_anchor):  # where no point explains the frames, it says nothing
        show_sure(found.sure, found.coordinate)


def show_validated(readout: Mapping[str, Any]) -> None:
    """What the readout gains on validation trajectories, after the observed frames."""
    ratios, regimes = readout.get("error_over_anchor"), readout.get("validation")
    if not ratios or not regimes:
        return
    worst = int(np.argmax(ratios))
    said = f"on validation: the error of later frames is {typical(ratios):.2g} times the anchor's"
    if len(ratios) > 1:
        said += f" ({counted(len(ratios), 'regime')}; worst: {ratios[worst]:.2g} at {regimes[worst]})"
    say(said)


def between(low: str, high: str, cut: tuple[bool, ...]) -> str:
    """An interval in words; an end at which the posterior is cut off lies somewhere beyond the number.

    Example:
        >>> between("0.09", "0.105", (False, True))
        '0.09 to ≥ 0.105'
    """
    return f"{'≤ ' * cut[0]}{low} to {'≥ ' * cut[1]}{high}"


def show_sure(sure: Sure, coordinate: tuple[float, ...]) -> None:
    """Intervals as a table, and what is doubtful about them."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in ("", "estimate", f"{100 * sure.level:.0f} % interval"):
        table.add_column(heading, justify="right" if heading else "left")
    several = len(sure.axes) > 1
    for i, (axis, c) in enumerate(zip(sure.axes, coordinate, strict=False)):
        if not axis.flat:
            low, high = axis.coordinate_interval
            cut = axis.cut[::-1] if axis.falls else axis.cut
            held = between(f"{low:+.3f}", f"{high:+.3f}", cut)
            table.add_row(f"coordinate {i + 1}" if several else "coordinate", f"{c:+.3f}", held)
            low, high = axis.interval
            table.add_row(axis.name, f"{axis.value:.4g}", between(f"{low:.4g}", f"{high:.4g}", axis.cut))
    if table.rows:
        console.print(table)
    for line in sure.remarks():
        say(line)
