#!/usr/bin/env bash
# taskmanager.sh start-foreground: a task manager.
set -euo pipefail
. "$FLINK_HOME/bin/memory.sh"
[ "${1:-}" = start-foreground ] || { echo "only start-foreground is known" >&2 && exit 1; }
memory GET_TM_RESOURCE_PARAMS org.apache.flink.runtime.taskexecutor.TaskManagerRunner "${@:2}"
