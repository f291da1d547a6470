"""The methods of the study of peers: what each must know and train, and where its errors are found."""

from __future__ import annotations

from typing import Literal, NamedTuple

Knows = Literal["nothing", "frames", "value"]
Trains = Literal["nothing more", "two fine-tunings", "one fine-tuning", "from scratch"]


class Method(NamedTuple):
    """A way to predict a regime.

    Attributes:
        label: name in tables and figures.
        row: the measure whose rows have its errors, for instance ``"window 1"``.
        key: of the errors in that row.
        knows: what it is told of a new regime. A window of five frames looks at what a prefix looks at.
        trains: what is trained beyond the one-frame anchor.
        ours: whether it is a use of this package's readouts on merged experts.
        bound: whether it knows the future or has data of the regime, and so is no method.
        inside: whether it has errors inside the support too.
        networks: how many networks of its row are stored to serve any regime.
    """

    label: str
    row: str
    key: str
    knows: Knows
    trains: Trains
    ours: bool = False
    bound: bool = False
    inside: bool = True
    networks: int = 1


def _conditioned(kind: str, name: str) -> list[Method]:
    found, n = [], 2 if kind == "all" else 1  # slopes of all weights are as large as the weights
    for arm, data in (("all", "all data"), ("ends", "the experts' data")):
        for key, how in (("coord", ""), ("scale", ", Scale map")):
            label = f"conditioned ({name}), fine-tuned on {data}{how}"
            found.append(Method(label, f"conditioned {kind}", f"{arm}_{key}", "value", "one fine-tuning", networks=n))
    label = f"conditioned ({name}), fine-tuned, value inferred by the prefix readout"
    return [*found, Method(label, f"conditioned {kind}", "all_prefix", "frames", "one fine-tuning", networks=n)]


def _on_prefix(key: str, name: str) -> list[Method]:
    """Fine-tuning on the observed frames: seconds to minutes for each trajectory."""
    label = f"fine-tuning on the five frames, {name}, {{}} steps"
    return [
        Method(label.format(steps), "prefix tuning", f"{key}_{steps}", "frames", "nothing more") for steps in (10, 100)
    ]


METHODS: tuple[Method, ...] = (
    Method("persistence", "window 1", "persistence", "nothing", "nothing more", networks=0),
    Method("anchor, window of 1", "window 1", "anchor", "nothing", "nothing more"),
    Method("anchor, window of 1, continued on all data", "window 1", "more", "nothing", "one fine-tuning"),
    Method("anchor, window of 3", "window 3", "anchor", "frames", "from scratch"),
    Method("anchor, window of 3, continued on all data", "window 3", "more", "frames", "from scratch"),
    Method("anchor, window of 5", "window 5", "anchor", "frames", "from scratch"),
    Method("anchor, window of 5, continued on all data", "window 5", "more", "frames", "from scratch"),
    Method("window of 5, from scratch with the total steps", "window 5 scratch", "scratch", "frames", "from scratch"),
    Method("endpoint average", "post hoc", "average", "nothing", "two fine-tunings"),
    Method("Task Arithmetic", "post hoc", "task_arithmetic", "nothing", "two fine-tunings"),
    Method("TIES", "post hoc", "ties", "nothing", "two fine-tunings"),
    Method("DARE", "post hoc", "dare", "nothing", "two fine-tunings"),
    Method("SLERP, fixed coordinate", "post hoc", "slerp_fixed", "nothing", "two fine-tunings"),
    Method("Model Stock", "post hoc", "model_stock", "nothing", "two fine-tunings"),
    Method("ensemble of both experts", "post hoc", "output_ensemble", "nothing", "two fine-tunings", networks=2),
    Method("nearest expert", "post hoc", "nearest_expert", "value", "two fine-tunings", networks=2),
    Method("SLERP, given the value", "post hoc", "slerp", "value", "two fine-tunings", networks=2),
    *_conditioned("channel", "a channel"),
    *_conditioned("biases", "all biases"),
    *_conditioned("all", "all weights"),
    Method("conditioned, from scratch", "conditioned scratch", "coord", "value", "from scratch"),
    Method("conditioned, from scratch, Scale map", "conditioned scratch", "scale", "value", "from scratch"),
    Method(
        "conditioned, from scratch, value inferred by the prefix readout",
        "conditioned scratch",
        "prefix",
        "frames",
        "from scratch",
    ),
    *_on_prefix("all", "all weights"),
    *_on_prefix("last", "last layers"),
    *_on_prefix("low_rank", "low rank"),
    Method("CoDA, its own optimiser", "CoDA", "adam", "frames", "from scratch"),
    Method("CoDA, prefix readout", "CoDA", "prefix", "frames", "from scratch"),
    Method("GEPS, its own optimiser", "GEPS", "adam", "frames", "from scratch"),
    Method("GEPS, prefix readout", "GEPS", "prefix", "frames", "from scratch"),
    Method("coarse solver, fitted by the prefix readout", "solver", "prefix", "frames", "nothing more", networks=0),
    Method("coarse solver", "solver", "value", "value", "nothing more", networks=0),
    Method("CCM-Coord", "window 1", "ccm_coord", "value", "two fine-tunings", ours=True, networks=2),
    Method("CCM-Scale", "window 1", "ccm_scale", "value", "two fine-tunings", ours=True, networks=2),
    Method("CCM-Prefix", "window 1", "ccm_prefix", "frames", "two fine-tunings", ours=True, networks=2),
    Method("CCM-Coord, window of 3", "window 3", "ccm_coord", "value", "from scratch", ours=True, networks=2),
    Method("CCM-Scale, window of 3", "window 3", "ccm_scale", "value", "from scratch", ours=True, networks=2),
    Method("CCM-Prefix, window of 3", "window 3", "ccm_prefix", "frames", "from scratch", ours=True, networks=2),
    Method("CCM-Coord, window of 5", "window 5", "ccm_coord", "value", "from scratch", ours=True, networks=2),
    Method("CCM-Scale, window of 5", "window 5", "ccm_scale", "value", "from scratch", ours=True, networks=2),
    Method(
        "CCM-Coord, steps split by validation", "split", "split_coord", "value", "from scratch", ours=True, networks=2
    ),
    Method(
        "CCM-Scale, steps split by validation", "split", "split_scale", "value", "from scratch", ours=True, networks=2
    ),
    Method("DPOT, window of 4", "DPOT", "anchor", "frames", "from scratch"),
    Method("DPOT, window of 4, continued on all data", "DPOT", "more", "frames", "from scratch"),
    Method("CCM-Coord on DPOT", "DPOT", "ccm_coord", "value", "from scratch", ours=True, networks=2),
    Method("CCM-Scale on DPOT", "DPOT", "ccm_scale", "value", "from scratch", ours=True, networks=2),
    Method("CCM-Prefix on DPOT", "DPOT", "ccm_prefix", "frames", "from scratch", ours=True, networks=2),
    Method(
        "best coordinate in hindsight", "window 1", "ccm_hindsight", "value", "two fine-tunings", bound=True, networks=2
    ),
    Method(
        "expert trained on the test regime", "ceiling", "ceiling", "value", "one fine-tuning", bound=True, inside=False
    ),
)

POST_HOC: tuple[str, ...] = (
    "average",
    "task_arithmetic",
    "ties",
    "dare",
    "slerp_fixed",
    "model_stock",
    "output_ensemble",
)
POST_HOC += ("nearest_expert",)  # SLERP told the regime moves along the same line, and stands apart
KINDS, ARMS = ("channel", "biases", "all"), ("all", "ends")
# The anchor as it is, and trained on for as many steps as both experts.
ONE_FRAME: tuple[tuple[str, str], ...] = (("window 1", "anchor"), ("window 1", "more"))
NO_VALUE: tuple[tuple[str, str], ...] = (*ONE_FRAME, ("window 3", "anchor"), ("window 3", "more"))
NO_VALUE += (("window 5", "anchor"), ("window 5", "more"), ("window 5 scratch", "scratch"))
NO_VALUE += (("DPOT", "anchor"), ("DPOT", "more"))
# Conditioned networks whose value the prefix readout infers from the frames.
LABELLED: tuple[tuple[str, str], ...] = (
    ("conditioned scratch", "prefix"),
    *((f"conditioned {kind}", "all_prefix") for kind in KINDS),
)
# Networks with a code for each environment, fitted to the observed frames.
ADAPTIVE: tuple[tuple[str, str], ...] = tuple((row, key) for row in ("CoDA", "GEPS") for key in ("adam", "prefix"))
