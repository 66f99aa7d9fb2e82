#!/usr/bin/env bash
# Creates the database cluster at the first start, as POSTGRES_* and /docker-entrypoint-initdb.d say, and runs the server.
set -Eeuo pipefail

fail() {
  echo "error: $*" >&2
  exit 1
}

# NAME or the contents of the file that NAME_FILE names, or the given default.
setting() {
  local name=$1 default=${2:-} file
  file="${name}_FILE"
  [ -z "${!name:-}" ] || [ -z "${!file:-}" ] || fail "$name and $file are both set; keep one"
  if [ -n "${!file:-}" ]; then
    export "$name"="$(<"${!file}")"
  else
    export "$name"="${!name:-$default}"
  fi
}

become_postgres() {
  mkdir -p "$PGDATA" /var/run/postgresql
  chmod 700 "$PGDATA"
  find "$PGDATA" ! -user postgres -exec chown postgres '{}' +
  exec gosu postgres "${BASH_SOURCE[0]}" "$@"
}

create_cluster() {
  local password_file hba
  [ -n "$POSTGRES_PASSWORD" ] || [ "$POSTGRES_HOST_AUTH_METHOD" = trust ] ||
    fail "the database is new and has no password: set POSTGRES_PASSWORD"
  password_file=$(mktemp)
  printf '%s\n' "$POSTGRES_PASSWORD" >"$password_file"
  # The variable holds several options. initdb refuses an empty password file.
  # shellcheck disable=SC2086
  initdb --username="$POSTGRES_USER" ${POSTGRES_PASSWORD:+--pwfile="$password_file"} ${POSTGRES_INITDB_ARGS:-}
  rm -f "$password_file"
  hba="$PGDATA/pg_hba.conf"
  printf '\nhost all all all %s\n' "${POSTGRES_HOST_AUTH_METHOD:-$(postgres -C password_encryption)}" >>"$hba"
}

# Reachable through the socket only: a client that waits for the port must not meet the unfinished database.
temporary_server() { pg_ctl -D "$PGDATA" -o "-c listen_addresses='' -p ${PGPORT:-5432}" -w "$@"; }

sql() { psql -v ON_ERROR_STOP=1 --no-psqlrc --username "$POSTGRES_USER" --no-password "$@"; }

run_init_files() {
  local file
  for file in /docker-entrypoint-initdb.d/*; do
    echo "init: $file"
    case "$file" in
      *.sh)
        # shellcheck source=/dev/null
        if [ -x "$file" ]; then "$file"; else . "$file"; fi
        ;;
      *.sql) sql --dbname "$POSTGRES_DB" -f "$file" ;;
      *.sql.gz) gunzip -c "$file" | sql --dbname "$POSTGRES_DB" ;;
      *.sql.xz) xzcat "$file" | sql --dbname "$POSTGRES_DB" ;;
      *.sql.zst) zstd -dc "$file" | sql --dbname "$POSTGRES_DB" ;;
      *) echo "init: ignored, neither a script nor SQL" ;;
    esac
  done
}

first_start() {
  setting POSTGRES_PASSWORD
  setting POSTGRES_USER postgres
  setting POSTGRES_DB "$POSTGRES_USER"
  : "${POSTGRES_HOST_AUTH_METHOD:=}"
  create_cluster
  export PGPASSWORD="${PGPASSWORD:-$POSTGRES_PASSWORD}"
  temporary_server start
  if [ "$POSTGRES_DB" != postgres ]; then
    sql --dbname postgres -v name="$POSTGRES_DB" <<<'CREATE DATABASE :"name";'
  fi
  shopt -s nullglob
  run_init_files
  temporary_server -m fast stop
  unset PGPASSWORD
  echo "init: complete"
}

[ "${1:0:1}" != - ] || set -- postgres "$@"
if [ "$1" = postgres ]; then
  [ "$(id -u)" != 0 ] || become_postgres "$@"
  [ -s "$PGDATA/PG_VERSION" ] || first_start
fi
exec "$@"
