#!/usr/bin/env bash
# A slice of a TPU pod: the same command on every host, which find one another by themselves.
#
#     export TPU=my-slice ZONE=us-east5-a REPOSITORY=https://... WORKDIR=/mnt/shared/runs/ns_ood
#     experiments/launch/tpu_pod.sh --config=ns_ood:paper
#
# REPOSITORY is where the hosts clone this repository from. WORKDIR must be a folder that all hosts mount (Filestore, for instance; it must know how to rename folders).
set -euo pipefail
: "${TPU:?name of the slice}" "${ZONE:?its zone}" "${REPOSITORY:?where to clone from}" "${WORKDIR:?a folder that all share}"
# Quoted once for this shell and once for the hosts'.
arguments=$(printf '%q ' "$@" "--workdir=$WORKDIR" --distributed)
gcloud compute tpus tpu-vm ssh "$TPU" --zone="$ZONE" --worker=all --command="
set -e
[ -d ccm_jax ] || git clone -q $REPOSITORY ccm_jax
cd ccm_jax
python3 -m venv .venv && . .venv/bin/activate && pip install -q -e '.[experiments,tpu]'
python -m experiments.run $arguments"
