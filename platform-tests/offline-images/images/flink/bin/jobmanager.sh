#!/usr/bin/env bash
# jobmanager.sh start-foreground: the job manager of a session cluster.
set -euo pipefail
. "$FLINK_HOME/bin/memory.sh"
[ "${1:-}" = start-foreground ] || { echo "only start-foreground is known" >&2 && exit 1; }
memory GET_JM_RESOURCE_PARAMS org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint "${@:2}"
