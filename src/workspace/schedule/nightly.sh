#!/bin/sh
# One night: the newest queue of everyone's, the night itself, and what it wrote back for everyone.
# It ends as `git carry nightly` does: 0 all well, 3 published but somebody has to look, 4 nothing published,
# 1 and 2 the night did not run.
set -eu
cd "$(dirname "$0")/.."
if git rev-parse --quiet --verify '@{upstream}' >/dev/null; then
    git pull --quiet --ff-only
fi
code=0
git-carry nightly "$@" || code=$?
if git rev-parse --quiet --verify '@{upstream}' >/dev/null; then
    git push --quiet
fi
exit "$code"
