#!/usr/bin/env bash
# The commands of the official image's entry point; anything else is run as it stands.
#
# Settings come from conf/config.yaml, then JOB_MANAGER_RPC_ADDRESS, then FLINK_PROPERTIES (lines of `key: value`).
set -euo pipefail
conf=$FLINK_HOME/conf/config.yaml

# set_option KEY VALUE: replaces a flat key of the settings file.
set_option() {
  local kept
  kept=$(grep -v "^$1:" "$conf" || true)
  printf '%s\n%s: %s\n' "$kept" "$1" "$2" >"$conf"
}

set_option jobmanager.rpc.address "${JOB_MANAGER_RPC_ADDRESS:-$(hostname -f)}"
set_option blob.server.port 6124
while IFS=':' read -r key value; do
  [ -z "${key//[[:space:]]/}" ] || set_option "${key//[[:space:]]/}" "${value# }"
done <<<"${FLINK_PROPERTIES:-}"

case "${1:-help}" in
  help) echo "Usage: docker-entrypoint.sh (jobmanager|taskmanager|help)" ;;
  jobmanager | taskmanager) exec "$FLINK_HOME/bin/$1.sh" start-foreground "${@:2}" ;;
  *) exec "$@" ;;
esac
