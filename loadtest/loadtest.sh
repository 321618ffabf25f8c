#!/usr/bin/env bash
# Starts a server on a port of its own choice, loads it, shows the report, stops it. What `make loadtest` runs.
set -euo pipefail
bin=$1 program=$2 connections=$3 duration=$4 rate=$5 report=$6
shift 6
. "$(dirname "$0")/with_server.sh"
# One address has ports for some 14 000 connections; beyond that the load tester spreads over 127.0.0.2, 127.0.0.3 and so on.
listen=127.0.0.1
((connections > 14000)) && listen=0.0.0.0
mkdir -p "$(dirname "$report")"
with_server "$bin" "$program" "$(dirname "$0")/../configs/loadtest.toml" "$listen"

"$bin/loadtest" run --target "127.0.0.1:${target##*:}" --connections "$connections" --rate "$rate" --duration "$duration" \
  --html "$report" "$@"
