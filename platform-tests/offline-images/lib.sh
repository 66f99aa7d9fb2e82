# shellcheck shell=bash
# Shared by the scripts of this folder: where the cache is, steps that print their seconds, bounded waits.
# To be sourced; sets nothing up and starts nothing.

cache="${XDG_CACHE_HOME:-$HOME/.cache}/streamforge"
logs="$cache/offline-images/logs"
mkdir -p "$logs"

# Says what went wrong and what to do about it, and ends the script.
die() {
  echo "error: $*" >&2
  exit 1
}

# step NAME COMMAND...: runs the command with its output in a log; prints one line with its seconds, or the log's end if it fails.
# The command runs in a shell of its own that ends at the first error. That holds only where nothing asks for step's own status:
# call it plainly, never before && or || or in an if.
step() {
  local name=$1 begun=$SECONDS log status=0
  shift
  log="$logs/${name//[^A-Za-z0-9._-]/_}.log"
  set +e
  (
    set -e
    "$@"
  ) >"$log" 2>&1 </dev/null
  status=$?
  set -e
  if [ "$status" = 0 ]; then
    printf '%-44s %4d s\n' "$name" "$((SECONDS - begun))"
  else
    printf '%-44s %4d s  FAILED (exit %d), the end of %s:\n' "$name" "$((SECONDS - begun))" "$status" "$log"
    tail -n 60 "$log" | sed 's/^/    /'
    exit "$status"
  fi
}

# wait_until SECONDS COMMAND...: polls the command until it succeeds or the time is over.
wait_until() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$deadline" ] || return 1
    sleep 0.3
  done
}

# apt_install PACKAGE...: refreshes the lists only if the first try lacks something.
apt_install() {
  export DEBIAN_FRONTEND=noninteractive
  apt-get install -y -qq --no-install-recommends "$@" && return
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends "$@"
}
