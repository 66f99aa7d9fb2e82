# shellcheck shell=bash
# To be sourced. memory COMMAND CLASS ARG...: runs Flink's process with the JVM options and the arguments that Flink works out from
# its own settings, as the official scripts do.
memory() {
  local said
  said=$(FLINK_JVM_ARGS=-Xmx64m FLINK_LOG_CONF=log4j-none.properties flink-class.sh org.apache.flink.runtime.util.bash.BashJavaUtils "$1" \
    --configDir "$FLINK_HOME/conf" | sed -n 's/^.*BASH_JAVA_UTILS_EXEC_RESULT://p')
  FLINK_JVM_ARGS="-XX:+UseG1GC $(sed -n 1p <<<"$said")"
  export FLINK_JVM_ARGS FLINK_LOG_CONF=log4j-console.properties
  # Several words.
  # shellcheck disable=SC2046
  exec flink-class.sh "$2" --configDir "$FLINK_HOME/conf" $(sed -n 2p <<<"$said") "${@:3}"
}
