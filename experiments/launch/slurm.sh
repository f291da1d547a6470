#!/usr/bin/env bash
# One process a GPU, as JAX takes it under Slurm; it finds the processes where Slurm put them.
#
#     sbatch experiments/launch/slurm.sh --config=rd_ood:paper
#
# The folder of the run must be on a file system that all nodes share. A job that is stopped goes on when it is sent again.
#SBATCH --job-name=ccm
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --requeue
set -euo pipefail
cd "${SLURM_SUBMIT_DIR:?run me with sbatch}"
. .venv/bin/activate
srun --kill-on-bad-exit=1 python -m experiments.run "$@" --distributed
