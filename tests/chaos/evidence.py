"""What jobs themselves write down, so that the queue's records are not their own only witness.

In the evidence directory, for each job: ``ID.roll``, one line a process (attempt, PID, start time);
``ID.ATTEMPT.began`` and ``ID.ATTEMPT.done``, made by an attempt's first and last deed; and for all
of them ``complaints``, which is missing as long as nothing is wrong.
"""

from __future__ import annotations

from pathlib import Path

SCRIPT = "job.sh"
COMPLAINTS = "complaints"

JOB_SCRIPT = r"""# Every job reads this first. Builtins only: it must cost next to nothing.

lives() { # PID, start time in clock ticks: proc(5), field 22 of stat; the second field may hold blanks
    { read -r stat < "/proc/$1/stat"; } 2>/dev/null || return 1
    set -- "$2" ${stat##*) }
    [ "$1" = "${21}" ] && [ "$2" != Z ] && [ "$2" != X ]
}

complain() {
    echo "job $QUEUECTL_JOB_ID: $*" >> "$CHAOS_EVIDENCE/complaints"
}

# Write first and look then, and let every process look: of two that overlap, one sees the other.
sign_in() {
    roll="$CHAOS_EVIDENCE/$QUEUECTL_JOB_ID.roll"
    read -r stat < "/proc/$$/stat"
    set -- ${stat##*) }
    echo "$QUEUECTL_ATTEMPT $$ ${20}" >> "$roll"
    while read -r attempt pid since; do
        if [ "$attempt" != "$QUEUECTL_ATTEMPT" ] && lives "$pid" "$since"; then
            complain "process $pid of attempt $attempt lives beside attempt $QUEUECTL_ATTEMPT"
        fi
    done < "$roll"
}

begin() {
    echo "begin $QUEUECTL_JOB_ID $QUEUECTL_ATTEMPT"
    set -C
    { true > "$CHAOS_EVIDENCE/$QUEUECTL_JOB_ID.$QUEUECTL_ATTEMPT.began"; } 2>/dev/null ||
        complain "attempt $QUEUECTL_ATTEMPT was started twice"
    set +C
    sign_in
}

finish() {
    echo "end $QUEUECTL_JOB_ID $QUEUECTL_ATTEMPT"
    true > "$CHAOS_EVIDENCE/$QUEUECTL_JOB_ID.$QUEUECTL_ATTEMPT.done"
    exit 0
}

# The job's parent is its worker or its keeper, unless that died just now: kill no stranger.
kill_parent() {
    { read -r title < "/proc/$PPID/cmdline"; } 2>/dev/null
    case "$title" in "queuectl: "*) kill -9 "$PPID"; sleep 60 ;; esac
    exit 1
}
"""


class Evidence:
    """Reads what the jobs of one round wrote."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def prepare(self) -> None:
        """Make the directory, with the script that every job reads first."""
        self.directory.mkdir(exist_ok=True)
        (self.directory / SCRIPT).write_text(JOB_SCRIPT)

    def began(self, job_id: str) -> set[int]:
        """The attempts whose first process got as far as saying so."""
        return self._numbers(job_id, "began")

    def done(self, job_id: str) -> set[int]:
        """The attempts that ran to their very end."""
        return self._numbers(job_id, "done")

    def _numbers(self, job_id: str, what: str) -> set[int]:
        return {int(path.suffixes[-2][1:]) for path in self.directory.glob(f"{job_id}.*.{what}")}

    def complaints(self) -> list[str]:
        """What jobs saw that must not be."""
        path = self.directory / COMPLAINTS
        return path.read_text().splitlines() if path.exists() else []
