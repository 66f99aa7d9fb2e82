#!/usr/bin/env bash
# What the one-shot service `dashboard-setup` runs: Superset's tables, its account and roles, the dashboard.
#
# It may be run again at any time. What was done is remembered in Superset's own database (setup_state.py), so
# a second run with nothing to do takes about a second, and a dashboard that was edited in the browser stays
# as it is until the bundle changes.
set -euo pipefail

readonly HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly LOG=$(mktemp)
trap 'rm -f "$LOG"' EXIT

say() { echo "dashboard-setup: $*"; }
fail() { echo "dashboard-setup: error: $1; next: $2" >&2; exit 1; }
state() { python "$HERE/setup_state.py" "$@"; }

# The line of $LOG that names what went wrong: the last exception, or else the last words.
cause() {
  grep -E '^[[:alnum:]_.]+(Error|Exception|Failed)\b' "$LOG" | tail -n 1 | grep . ||
    grep -v '^[[:space:]]*$' "$LOG" | tail -n 1
}

# Runs a command of Superset's; its many words are shown only when it fails.
# usage: quietly WHAT NEXT COMMAND…
quietly() {
  local what=$1 next=$2 started=$SECONDS
  shift 2
  if ! "$@" > "$LOG" 2>&1; then
    tail -n 40 "$LOG" >&2
    fail "$what failed: $(cause)" "$next"
  fi
  say "$what: done in $((SECONDS - started)) s"
}

need() {
  local name
  for name in "$@"; do
    [[ -n "${!name:-}" ]] || fail "$name is not set" "set it in .env or in the service's environment"
  done
}

check_secret_key() {
  local answer
  answer=$(state ask secret-key)
  case $answer in
    new | same) ;;
    announced)
      quietly "re-encrypting stored passwords" "check that SUPERSET_PREVIOUS_SECRET_KEY is the former key" \
        superset re-encrypt-secrets
      state remember secret-key ;;
    changed)
      fail "SUPERSET_SECRET_KEY is not the key that this metadata was written with" \
        "set the former key again, or run this once with the former one as SUPERSET_PREVIOUS_SECRET_KEY" ;;
  esac
}

prepare_tables() {
  local answer
  answer=$(state ask tables)
  if [[ $answer == current ]]; then
    say "tables and roles: already there"
    return
  fi
  quietly "superset db upgrade" "read the output above; tables of a newer Superset can't be used by an older one" \
    superset db upgrade
  quietly "superset init" "read the output above, then run this again" superset init
  state remember tables
  state remember secret-key
}

prepare_account() {
  local answer user=$SUPERSET_ADMIN_USER
  answer=$(state ask account)
  case $answer in
    missing)
      quietly "creating the account $user" "read the output above, then run this again" \
        superset fab create-admin --username "$user" --password "$SUPERSET_ADMIN_PASSWORD" \
        --firstname StreamForge --lastname Admin --email "$user@localhost"
      state remember account ;;
    outdated)
      quietly "setting the password of $user" "read the output above, then run this again" \
        superset fab reset-password --username "$user" --password "$SUPERSET_ADMIN_PASSWORD"
      state remember account ;;
    changed-in-superset)
      say "account $user: its password was changed in Superset and stays; SUPERSET_ADMIN_PASSWORD is not used" ;;
    current) say "account $user: already there" ;;
  esac
}

import_dashboard() {
  local answer
  answer=$(state ask dashboard)
  if [[ $answer == current ]]; then
    say "dashboard: already that of this bundle"
    return
  fi
  state wait trino
  quietly "importing the dashboard" "read the output above; Trino must be up while it is imported" \
    python "$HERE/import_bundle.py"
  state remember dashboard
}

need SUPERSET_SECRET_KEY SUPERSET_ADMIN_USER SUPERSET_ADMIN_PASSWORD TRINO_URI
state wait database
check_secret_key
prepare_tables
prepare_account
import_dashboard
say "ready"
