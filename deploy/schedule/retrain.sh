#!/bin/sh
# One unattended run, for schedulers that know exit codes only as good and bad: cron above all.
#
#   retrain.sh JOB.toml [OPTIONS OF convoy run]
#
# An interrupted run (75) is continued a few times. A model that was not blessed (3) is no failure:
# the live one stays, and the run's report says why. All else is the caller's to hear of.
set -u
convoy=${CONVOY:-convoy}
tries=${RETRAIN_TRIES:-5}
pause=${RETRAIN_PAUSE:-60} # seconds before a run is continued

while :; do
    "$convoy" run "$@"
    code=$?
    tries=$((tries - 1))
    if [ "$code" -ne 75 ] || [ "$tries" -le 0 ]; then break; fi
    echo "retrain.sh: interrupted; it continues in $pause s" >&2
    sleep "$pause"
done
if [ "$code" -eq 3 ]; then
    echo "retrain.sh: not blessed; the live model stays" >&2
    exit 0
fi
exit "$code"
