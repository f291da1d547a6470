"""JAX-native solvers: the makers of truth. They know nothing of the models that learn from them.

Shared conventions
------------------
* A state is ``[H, W, C]``; a batch comes by ``jax.vmap``. Grids are cell-centred for walls.
* ``make_step(...)`` returns a pure function *state at t -> state at t + dt*. Physical parameters
  may be traced values, so that one compilation serves every regime, and gradients reach them.
* Either precision works: a step computes in the precision of the state that it is given.

Equations
---------
* :mod:`solvers.reaction_diffusion` -- FitzHugh-Nagumo, two channels, zero-flux walls (spectral, cosine basis).
"""

from solvers import burgers, etdrk, initial, kuramoto_sivashinsky, navier_stokes, reaction_diffusion, shallow_water, spectral

__all__ = ["initial", "reaction_diffusion", "spectral"]
