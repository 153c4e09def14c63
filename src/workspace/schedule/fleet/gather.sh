#!/bin/sh
#SBATCH --job-name=git-carry-gather
#SBATCH --output=schedule/log/%x-%j.log
# The fan-in of a fleet's night: what the workers left, as commits of the workspace and as one page.
# It ends as `git carry fleet report` does: 0 all well, 3 published but somebody has to look, 4 something was not
# published, 1 a unit has no result.
set -eu
cd "${SLURM_SUBMIT_DIR:-$(dirname "$0")/..}"
if git rev-parse --quiet --verify '@{upstream}' >/dev/null; then
    git pull --quiet --ff-only
fi
code=0
git-carry fleet report --record --to "${CARRY_PAGE:-schedule/log/night.html}" || code=$?
git-carry fleet report || true
if git rev-parse --quiet --verify '@{upstream}' >/dev/null; then
    git push --quiet
fi
exit "$code"
