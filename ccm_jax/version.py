"""The version of this package, apart from everything else so that a build can read it without jax."""

__version__ = "0.1.0"
