#!/bin/sh
# Print a job file: three jobs for each file of a directory, each waiting for the one before it.
#
#     sh jobs.sh INPUT OUTPUT [RUN] | queuectl enqueue --job-file -
#
# An id names one job, until that is pruned. RUN, which is put behind each, lets the same files be taken once more.
set -eu
input=$1 output=$2 run=${3:+-$3}
for file in "$input"/*.txt; do
    name=$(basename "$file" .txt)
    cat <<JOBS
{"id": "sort-$name$run", "command": "sort '$file' > '$output/$name.sorted'"}
{"id": "pack-$name$run", "command": "gzip -nkf '$output/$name.sorted'", "after": "sort-$name$run", "group": "pack", "max_retries": 0}
{"id": "check-$name$run", "command": "gzip -dc '$output/$name.sorted.gz' | cmp - '$output/$name.sorted'", "after": "pack-$name$run"}
JOBS
done
