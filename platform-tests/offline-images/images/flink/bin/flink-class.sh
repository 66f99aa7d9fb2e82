#!/usr/bin/env bash
# flink-class.sh CLASS ARG...: a JVM with Flink's jars and env.java.opts.all of its settings; FLINK_JVM_ARGS holds more options.
set -euo pipefail
export FLINK_CONF_DIR=${FLINK_CONF_DIR:-$FLINK_HOME/conf}
opts=$(sed -n 's/^env\.java\.opts\.all: *//p' "$FLINK_CONF_DIR/config.yaml")
# Both hold several options.
# shellcheck disable=SC2086
exec java ${FLINK_JVM_ARGS:--Xmx512m} $opts -Dlog4j2.configurationFile="$FLINK_CONF_DIR/${FLINK_LOG_CONF:-log4j-cli.properties}" \
  -cp "$FLINK_HOME/lib/*" "$@"
