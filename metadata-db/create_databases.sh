#!/usr/bin/env bash
# On the first start of an empty volume: a database and a user of its own for the catalog and for Superset.
set -euo pipefail

create() {
  local name=$1 password=$2
  psql --username "${POSTGRES_USER:-postgres}" --set ON_ERROR_STOP=1 --set name="$name" --set password="$password" <<'SQL'
CREATE USER :"name" WITH PASSWORD :'password';
CREATE DATABASE :"name" OWNER :"name";
SQL
}

create iceberg "$ICEBERG_DB_PASSWORD"
# Last: the health check waits for it.
create superset "$SUPERSET_DB_PASSWORD"
