"""``python -m experiments.cli``: the same as ``ccm``."""

from experiments.cli import main

main(prog_name="ccm")
