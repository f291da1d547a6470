"""Files in and out: checkpoints of every common kind, and recorded trajectories.

:mod:`~ccm_jax.io.weights` opens a checkpoint of any kind, :mod:`~ccm_jax.io.recordings` a file of trajectories. Only
this folder knows file formats; Orbax and h5py are imported where they are needed.
"""
