#!/bin/sh
# The whole story, in a fresh directory: sh run.sh [DIRECTORY]. Each command is printed before it runs.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=${1:-$(mktemp -d)}
mkdir -p "$work/in" "$work/out"
cd "$work"
if test -e queuectl.db && test "$(queuectl list --limit 1 --json)" != "[]"; then
    echo "run.sh: the queue in $work holds jobs, maybe of a run that did not come to its end: take another directory" >&2
    exit 4
fi

say() { printf '\n# %s\n' "$*"; }
run() { show "$@" >&2; "$@"; }
show() { # a command as it can be typed
    printf '$'
    for word; do
        case $word in
            '' | *[!A-Za-z0-9_@%+:,./=-]*) printf " '%s'" "$(printf '%s' "$word" | sed "s/'/'\\\\''/g")" ;;
            *) printf ' %s' "$word" ;;
        esac
    done
    printf '\n'
}
stop() { queuectl worker-stop --now 2>/dev/null || true; }
trap stop EXIT

say "300 files"
awk 'BEGIN { for (n = 1; n <= 300; n++) { file = sprintf("in/page-%03d.txt", n)
    for (line = 1; line <= 40; line++) print (n * line * 7919) % 10007 > file; close(file) } }'

say "a queue; of the second stage at most two jobs run at once"
run queuectl init
run queuectl group set pack --limit 2

say "900 jobs in three stages, accepted all at once, and workers for them; in one command somebody hits a key twice"
sh "$here/jobs.sh" "$PWD/in" "$PWD/out" | sed '/"id": "pack-page-042"/s/gzip/gzipp/' > jobs.jsonl
run queuectl enqueue --job-file jobs.jsonl > ids
run queuectl worker-start --count 4
run queuectl wait || true

say "one command was mistyped: it is dead, and what needed it was cancelled"
run queuectl status
run queuectl dlq list
run queuectl why pack-page-042
run queuectl why check-page-042

say "put both back, the dead one held, and mend its command before a worker takes it"
run queuectl dlq retry pack-page-042 --with-dependents --hold
run queuectl edit pack-page-042 --command "gzip -nkf '$PWD/out/page-042.sorted'"
run queuectl release pack-page-042
run queuectl wait

say "all is done (at another terminal, queuectl watch shows it live while it happens; in a pipe it prints one picture)"
run queuectl watch | cat
test "$(queuectl list --state completed --json | grep -c '"id"')" -eq 900
test "$(ls out/*.gz | wc -l)" -eq 300

say "from now on every night, and what is done for a month goes by itself"
run queuectl cron add nightly '30 2 * * *' --replace --max-retries 0 -- sh "$here/nightly.sh" "$PWD/in" "$PWD/out"
run queuectl cron list
run queuectl config set retention 30d

say "it can go at once, too, logs and all"
run queuectl prune --older-than 0 --dry-run
run queuectl prune --older-than 0
run queuectl worker-stop
test "$(queuectl list --json)" = "[]"
say "900 jobs completed, 300 files packed and checked, nothing left running"
