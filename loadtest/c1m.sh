#!/usr/bin/env bash
# A million connections: starts echo with configs/c1m.toml, opens them all, lets each speak every 30 seconds for a minute, watches them
# in silence, stops echo. What `make c1m` runs. Bounded: the ramp by its rate, each wait by its timeout.
set -euo pipefail
bin=$1 connections=$2 duration=$3 rate=$4 report=$5
shift 5
. "$(dirname "$0")/with_echo.sh"
mkdir -p "$(dirname "$report")"
with_echo "$bin" "$(dirname "$0")/../configs/c1m.toml" --set 'server.listen="0.0.0.0:0"'

"$bin/loadtest" run --target "127.0.0.1:${target##*:}" --connections "$connections" --rate "$rate" --connects-in-flight 4096 \
  --interval 30s --duration "$duration" --timeout 30s --rest 20s --html "$report" "$@"
