"""JAX-native solvers: the makers of truth. They know nothing of the models that learn from them.

Shared conventions
------------------
* A state is ``[*space, C]``, in two dimensions ``[H, W, C]``; a batch comes by ``jax.vmap``. Periodic grids have a
  point at the origin, grids between walls are cell-centred.
* ``make_step(...)`` returns a pure function *state at t -> state at t + dt*. Physical parameters
  may be traced values, so that one compilation serves every regime, and gradients reach them.
* Either precision works: a step computes in the precision of the state that it is given.

Equations
---------
* :mod:`solvers.reaction_diffusion` -- FitzHugh-Nagumo, two channels, zero-flux walls, one to three dimensions
  (spectral, cosine basis).
* :mod:`solvers.navier_stokes` -- vorticity, periodic, forced or free (spectral, Fourier basis).
* :mod:`solvers.burgers`, :mod:`solvers.kuramoto_sivashinsky` -- one dimension, periodic (spectral, Fourier basis).
* :mod:`solvers.shallow_water` -- depth and momenta of a dam break (finite volumes: its bores are discontinuous, which
  no spectral method represents).

A parameter that changes during a simulation is :mod:`solvers.drift`'s, for every equation.

A new periodic or zero-flux equation is one short file on :mod:`solvers.spectral` or :mod:`solvers.advection`, and
:mod:`solvers.etdrk`. It ends in a ``SYSTEM``, which says what experiments need of it (:mod:`solvers.system`).
"""

from solvers import (
    advection,
    burgers,
    drift,
    etdrk,
    initial,
    kuramoto_sivashinsky,
    navier_stokes,
    reaction_diffusion,
    shallow_water,
    spectral,
    system,
)

__all__ = [
    "advection",
    "burgers",
    "drift",
    "etdrk",
    "initial",
    "kuramoto_sivashinsky",
    "navier_stokes",
    "reaction_diffusion",
    "shallow_water",
    "spectral",
    "system",
]
