"""Help of verbs with many options: under headings, those that verbs share in one order."""

from __future__ import annotations

import re

import click

# Heading -> names of options, in the order in which help shows them.
GROUPS = {
    "Checkpoints": ("anchor", "low", "high", "family", "recipe", "merged", "model"),
    "Frames": (
        *("prefix", "initial", "trajectories", "sample", "fields", "axes", "missing", "mask"),
        *("frames", "until", "steps", "start", "truth"),
    ),
    "Validation and prior": ("validation", "noise", "parameter", "prior"),
    "Coordinate": ("coordinate", "value", "range", "log", "reach", "bank"),
    "Method": ("method", "arguments"),
    "Safeguards": ("accept_persistence", "write_anyway"),
    "Samples of the posterior": ("samples", "seed"),
    "Output": ("output", "report", "target", "force", "show_candidates", "as_json"),
}
BOUNDS = re.compile(r"(?:; )?(?:[\d.]+<=?)?x(?:>=?|<=?)[\d.]+")  # as click shows those of a number


class Grouped(click.Command):
    """A command whose help shows options under headings."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The options of each heading that the command has, then those of none."""
        left = {param.name: param for param in self.get_params(ctx) if isinstance(param, click.Option)}
        for heading, names in (*GROUPS.items(), ("Other", tuple(left))):
            records = [left.pop(name).get_help_record(ctx) for name in names if name in left]
            rows = [(what, BOUNDS.sub("", text).replace("  []", "")) for what, text in filter(None, records)]
            if rows:
                with formatter.section(heading):
                    formatter.write_dl(rows)
