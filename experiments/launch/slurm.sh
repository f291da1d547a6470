#!/usr/bin/env bash
# One process a GPU, as JAX takes it under Slurm; it finds the processes where Slurm put them.
#
#     sbatch experiments/launch/slurm.sh --config=rd_ood:paper
#
# The folder of the run must be on a file system that all nodes share. Two minutes before its time is over, or when it is
# preempted, the run is sent SIGTERM, ends with exit code 75, and is queued again; it goes on where it was.
#SBATCH --job-name=ccm
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --signal=TERM@120
set -euo pipefail
cd "${SLURM_SUBMIT_DIR:?run me with sbatch}"
. .venv/bin/activate
code=0
srun --kill-on-bad-exit=1 python -m experiments.run "$@" --distributed || code=$?
if [ "$code" = 75 ]; then scontrol requeue "$SLURM_JOB_ID"; fi
exit "$code"
