#!/bin/sh
# A worker. The clone of the team's repository, RNR_HOME, lies in a volume and is made at the first start.
set -eu
if [ ! -e "$RNR_HOME/dvc.yaml" ]; then
    : "${RNR_GIT_URL:?set it to the address of the repository that the workers clone}"
    # of several workers that start together one clones
    flock "$(dirname "$RNR_HOME")/.cloning" sh -c 'test -e "$RNR_HOME/dvc.yaml" || git clone --quiet "$RNR_GIT_URL" "$RNR_HOME"'
fi
cd "$RNR_HOME"
# the clone's code runs, not the image's
export PYTHONPATH="$RNR_HOME"
exec rnr worker --name "$(hostname)"
