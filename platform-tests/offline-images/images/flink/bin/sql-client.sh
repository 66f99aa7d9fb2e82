#!/usr/bin/env bash
# sql-client.sh [-i INIT] -f FILE: the part of the official client's command line that scripts use.
FLINK_JVM_ARGS=${FLINK_JVM_ARGS:--Xmx512m} exec flink-class.sh StandInSqlClient "$@"
