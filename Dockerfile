# queuectl in a container: the workers of the queue in /data.
#
#   docker build --tag queuectl .
#   docker run --detach --name queue --volume "$PWD/queue:/data" --stop-timeout 45 queuectl
#   docker run --rm --volume "$PWD/queue:/data" queuectl status
#   docker exec queue docker-entrypoint enqueue --command 'echo hello'
#
# At a stop, running jobs have 30 s to finish (setting stop_timeout), then 5 s between SIGTERM and SIGKILL
# (kill_grace). An engine that loses patience before that kills them: give it more than both together, with
# `docker run --stop-timeout 45`, or `stop_grace_period: 45s` in a compose file. An image cannot say it.

FROM python:3.12-slim

# It has no password and no shell. Its number is fixed, so that a later image owns what an earlier one made.
RUN useradd --system --uid 900 --user-group --home-dir /data --no-create-home --shell /usr/sbin/nologin queuectl \
 && install --directory --owner=queuectl --group=queuectl /data

COPY . /usr/src/queuectl
RUN pip install --no-cache-dir --root-user-action=ignore /usr/src/queuectl \
 && install --mode=755 /usr/src/queuectl/bin/docker-entrypoint /usr/local/bin/docker-entrypoint

WORKDIR /data
VOLUME /data

# There is no USER here: the entry point begins as root to look whose /data is, and to give a fresh one to
# queuectl. It gives up root's rights before anything else runs; no job ever has them. `docker run --user`
# works too, for a /data that belongs to that user.
ENTRYPOINT ["docker-entrypoint"]
CMD ["worker-run"]

STOPSIGNAL SIGTERM
# By way of the entry point, so that the check leaves nothing of root's in /data.
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s --retries=3 CMD ["docker-entrypoint", "worker-status"]
