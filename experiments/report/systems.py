"""What the systems are called in tables, figures and sentences."""

from __future__ import annotations

# The equation, and the parameter that varies.
TITLES = {
    "rd_ood": "reaction–diffusion, Dᵤ",
    "rd_dv": "reaction–diffusion, Dᵥ",
    "rd_f2": "reaction–diffusion, both",
    "rd_2d": "reaction–diffusion, two diffusivities",
    "rd_3d": "reaction–diffusion in 3-D",
    "rd_dpot": "reaction–diffusion, Dᵤ, by DPOT",
    "rd_unet": "reaction–diffusion, Dᵤ, by a U-Net",
    "ns_ood": "Navier–Stokes, viscosity",
    "ns_2d": "Navier–Stokes, viscosity and forcing",
    "ns_drift": "Navier–Stokes, viscosity",
    "ns_dpot": "Navier–Stokes, by DPOT",
    "rdb_gravity": "dam break, gravity",
    "rdb_ood": "dam break, height",
    "burgers": "Burgers",
    "ks": "Kuramoto–Sivashinsky",
}
# The systems of the study of peers, within a sentence.
SHORT = {
    "rd_ood": "reaction–diffusion",
    "ns_ood": "Navier–Stokes",
    "rdb_gravity": "gravity",
    "rdb_ood": "dam height",
}
