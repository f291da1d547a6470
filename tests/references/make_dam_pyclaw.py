"""Makes ``dam_pyclaw.npz``: a radial dam break by PyClaw as in PDEBench (Roe, entropy fix, MC limiter, order 2).

    pip install clawpack==5.14.0   # needs a Fortran compiler
    python tests/references/make_dam_pyclaw.py

On 400^2 cells, stored as averages over 8 x 8 of them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

HEIGHT, RADIUS, CENTER, GRAVITY, TIME, CELLS, STORED = 2.0, 0.5, (0.3, -0.2), 1.2, 0.8, 400, 50


def main() -> None:
    """Runs PyClaw and writes the file beside this one."""
    from clawpack import pyclaw, riemann

    solver = pyclaw.ClawSolver2D(riemann.shallow_roe_with_efix_2D)
    solver.limiters = pyclaw.limiters.tvd.MC
    solver.all_bcs = pyclaw.BC.extrap
    x, y = (pyclaw.Dimension(-2.5, 2.5, CELLS, name=name) for name in "xy")
    domain = pyclaw.Domain([x, y])
    state = pyclaw.State(domain, 3)
    state.problem_data["grav"] = GRAVITY
    cell = 5.0 / CELLS
    distance = np.hypot(state.grid.p_centers[0] - CENTER[0], state.grid.p_centers[1] - CENTER[1])
    state.q[0] = 1.0 + (HEIGHT - 1.0) * np.clip((RADIUS - distance) / cell + 0.5, 0.0, 1.0)
    state.q[1:] = 0.0
    run = pyclaw.Controller()
    run.solution, run.solver = pyclaw.Solution(state, domain), solver
    run.tfinal, run.num_output_times, run.output_format, run.keep_copy = TIME, 1, None, True
    run.run()
    q = run.frames[-1].q.reshape(3, STORED, CELLS // STORED, STORED, CELLS // STORED).mean(axis=(2, 4))
    facts = {"height": HEIGHT, "radius": RADIUS, "center": CENTER, "gravity": GRAVITY, "time": TIME}
    np.savez_compressed(Path(__file__).with_name("dam_pyclaw.npz"), state=np.moveaxis(q, 0, -1).astype("f4"), **facts)


if __name__ == "__main__":
    main()
