#!/usr/bin/env bash
# What the one-shot service `dashboard-setup` runs: Superset's tables, its account and roles, the dashboard.
#
# It may be run again at any time. What was done is remembered in Superset's own database (setup_state.py), so
# a second run with nothing to do takes a few seconds, and a dashboard that was edited in the browser stays as
# it is until the bundle changes.
set -euo pipefail

readonly HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly LOG=$(mktemp)
trap 'rm -f "$LOG"' EXIT

say() { echo "dashboard-setup: $*"; }
fail() { echo "dashboard-setup: error: $1; next: $2" >&2; exit 1; }
state() { python "$HERE/setup_state.py" "$@"; }

need() {
  local name
  for name in "$@"; do
    [[ -n "${!name:-}" ]] || fail "$name is not set" "set it in .env or in the service's environment"
  done
}

# Fills `steps` with what is still to do.
plan() {
  local answers secret_key tables account dashboard
  answers=$(state ask)
  read -r secret_key tables account dashboard <<< "$answers"
  case $secret_key in
    announced) steps+=(secret-key) ;;
    changed)
      fail "SUPERSET_SECRET_KEY is not the key that this metadata was written with" \
        "set the former key again, or run this once with the former one as SUPERSET_PREVIOUS_SECRET_KEY" ;;
  esac
  [[ $tables == current ]] || steps+=(tables)
  case $account in
    missing) steps+=(account-new) ;;
    outdated) steps+=(account-reset) ;;
    changed-in-superset)
      say "the password of $SUPERSET_ADMIN_USER was changed in Superset and stays; SUPERSET_ADMIN_PASSWORD is not used" ;;
  esac
  [[ $dashboard == current ]] || steps+=(dashboard)
}

need SUPERSET_SECRET_KEY SUPERSET_ADMIN_USER SUPERSET_ADMIN_PASSWORD TRINO_URI
state wait database
steps=()
plan
if [[ ${#steps[@]} -eq 0 ]]; then
  say "ready: nothing to do"
  exit
fi
say "to do: ${steps[*]}"
# Superset looks at the database behind a dashboard while it imports it.
[[ " ${steps[*]} " != *" dashboard "* ]] || state wait trino
if ! python "$HERE/superset_steps.py" "${steps[@]}" 2> "$LOG"; then
  tail -n 40 "$LOG" >&2
  fail "$(tail -n 1 "$LOG")" "read the lines above, put right what they name, and run this again: it goes on where it stopped"
fi
say "ready"
