#!/bin/sh
#SBATCH --job-name=git-carry-worker
#SBATCH --output=schedule/log/%x-%A_%a.log
# One worker of a fleet: the share that the engine's own numbers name, or that is given (--shard 3/12, --unit a,b).
# That somebody has to look (3) fails no worker: schedule/fleet-gather.sh says so of all.
set -eu
if [ -n "${SLURM_SUBMIT_DIR:-}" ]; then
    # A clone of its own on the node's disk; the one that the job was submitted from may be on a slow one.
    clone=$(mktemp -d)
    trap 'rm -rf "$clone"' EXIT
    git clone --quiet --filter=blob:none "$(git -C "$SLURM_SUBMIT_DIR" remote get-url origin)" "$clone"
    cd "$clone"
else
    cd "$(dirname "$0")/.."
fi
code=0
git-carry fleet run "$@" || code=$?
[ "$code" -ne 3 ] || code=0
exit "$code"
