#!/bin/bash
# `server /data` means `silo server /data`.
[ "${1:-}" = silo ] || set -- silo "$@"
exec "$@"
