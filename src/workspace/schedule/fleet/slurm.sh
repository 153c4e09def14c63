#!/bin/sh
# A fleet's night on Slurm: an array of workers for what is due, and the fan-in after them. Run it from cron, in a clone
# of the workspace whose `origin` the nodes can clone. It ends as the fan-in does (see schedule/fleet-gather.sh).
set -eu
cd "$(dirname "$0")/.."
mkdir -p schedule/log
[ -e schedule/log/.gitignore ] || echo '*' > schedule/log/.gitignore
if git rev-parse --quiet --verify '@{upstream}' >/dev/null; then
    git pull --quiet --ff-only
fi
array=$(git-carry --quiet fleet plan --format slurm ${CARRY_SHARDS:+--shards "$CARRY_SHARDS"})
workers=$(sbatch --parsable --array="$array" schedule/fleet-worker.sh)
exec sbatch --wait --dependency="afterany:$workers" schedule/fleet-gather.sh
