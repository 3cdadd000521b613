#!/bin/sh
# What the schedule runs: the jobs for all files, named after the night, and as a batch that is called so.
#
#     queuectl cron add nightly '30 2 * * *' -- sh nightly.sh INPUT OUTPUT
set -eu
night=$QUEUECTL_JOB_ID # such as nightly-20300131T0230Z: another one each night
sh "$(dirname "$0")/jobs.sh" "$1" "$2" "$night" > nightly.jsonl
queuectl enqueue --job-file nightly.jsonl --batch "$night"
