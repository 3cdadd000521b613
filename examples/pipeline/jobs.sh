#!/bin/sh
# Print a job file: three jobs for each file of a directory, each waiting for the one before it.
#
#     sh jobs.sh INPUT OUTPUT | queuectl enqueue --job-file -
set -eu
input=$1 output=$2
for file in "$input"/*.txt; do
    name=$(basename "$file" .txt)
    # The second stage has a mistake in one of its commands, as they do: there is no program gzipp.
    packer=gzip
    [ "$name" = page-042 ] && packer=gzipp
    cat <<JOBS
{"id": "sort-$name", "command": "sort '$file' > '$output/$name.sorted'"}
{"id": "pack-$name", "command": "$packer -nkf '$output/$name.sorted'", "after": "sort-$name", "group": "pack", "max_retries": 0}
{"id": "check-$name", "command": "gzip -dc '$output/$name.sorted.gz' | cmp - '$output/$name.sorted'", "after": "pack-$name"}
JOBS
done
