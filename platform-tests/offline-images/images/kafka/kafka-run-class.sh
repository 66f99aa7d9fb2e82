#!/bin/bash
# kafka-run-class.sh CLASS ARG...: a JVM with Kafka's jars and the settings of the KAFKA_*_OPTS variables.
home=/opt/kafka
# Each of these variables holds several options.
# shellcheck disable=SC2086
exec java \
  ${KAFKA_HEAP_OPTS:--Xmx256M} \
  ${KAFKA_JVM_PERFORMANCE_OPTS:--server -XX:+UseG1GC -XX:MaxGCPauseMillis=20 -XX:InitiatingHeapOccupancyPercent=35 -Djava.awt.headless=true} \
  ${KAFKA_JMX_OPTS:-} \
  ${KAFKA_LOG4J_OPTS:--Dlog4j2.configurationFile=$home/config/tools-log4j2.yaml} \
  -Dkafka.logs.dir="${LOG_DIR:-$home/logs}" \
  -cp "$home/libs/*${CLASSPATH:+:$CLASSPATH}" \
  ${KAFKA_OPTS:-} \
  "$@"
