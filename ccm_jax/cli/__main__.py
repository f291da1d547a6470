"""``python -m ccm_jax.cli``: the same as ``ccm``."""

from ccm_jax.cli import main

main(prog_name="ccm")
