#!/bin/sh
# What the schedule runs: the jobs for all files, named after the night, and as a batch that is called so.
#
#     queuectl cron add nightly '30 2 * * *' --max-retries 0 -- sh nightly.sh INPUT OUTPUT
#
# It waits for them, and so takes one of the workers: as long as it runs, the schedule adds no other night (--overlap skip).
# It fails when not all of them completed. A second try would find that their ids exist: hence no retries.
set -eu
night=$QUEUECTL_JOB_ID # such as nightly-20300131T0230Z: another one each night
sh "$(dirname "$0")/jobs.sh" "$1" "$2" "$night" > nightly.jsonl
queuectl enqueue --job-file nightly.jsonl --batch "$night"
queuectl wait --batch "$night"
