"""``python -m ccm_jax``: the terminal command, ``ccm``."""

from ccm_jax.cli import main

if __name__ == "__main__":
    main(prog_name="ccm")
