#!/usr/bin/env bash
# Submits the job file as it is, once: from where `streamforge lend` has written that the tables stand.
#
# A cluster that runs a job already is left alone. A start position is used up by the start, so that nobody starts from an old one.
set -euo pipefail
job=${JOB_FILE:?the job file}
cluster=${FLINK_URL:?the address of the cluster, such as http://flink-job-master:8081}
start=/handover/start.sql

jobs=$(curl --fail --silent --show-error --max-time 10 "$cluster/jobs/overview")
if grep -Eq '"state":"(INITIALIZING|CREATED|RUNNING|FAILING|CANCELLING|RESTARTING|SUSPENDED|RECONCILING)"' <<<"$jobs"; then
  echo "a job runs already: $jobs"
  exit 0
fi
[ -f "$start" ] || { echo "error: $start is missing; run the service flink-start first" >&2 && exit 1; }
mv "$start" /tmp/start.sql
{
  cat /opt/streamforge/init.sql
  echo "SET 'pipeline.name' = '$(basename "$job" .sql)';"
  cat /tmp/start.sql
} >/tmp/init.sql
sql-client.sh -i /tmp/init.sql -f "$job"
