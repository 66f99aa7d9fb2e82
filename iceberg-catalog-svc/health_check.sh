#!/usr/bin/env bash
# Healthy when a list of namespaces, which the database has to give, is answered. The image holds no HTTP client.
set -euo pipefail
exec 3<> "/dev/tcp/127.0.0.1/${CATALOG_REST_PORT}"
printf 'GET /v1/namespaces HTTP/1.0\r\nHost: localhost\r\n\r\n' >&3
read -r status <&3
[[ $status == *" 200"* ]] || { echo "the catalog answers: $status"; exit 1; }
