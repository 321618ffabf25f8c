#!/usr/bin/env bash
# Starts a chat server on a port of its own choice, has so many lines a second said in its rooms, shows the report, stops it. What
# `make chat-load` runs. The lines are of all connections in turn.
set -euo pipefail
bin=$1 program=$2 connections=$3 rooms=$4 duration=$5 rate=$6 report=$7
shift 7
. "$(dirname "$0")/with_server.sh"
# As in loadtest.sh.
listen=127.0.0.1
((connections > 14000)) && listen=0.0.0.0
mkdir -p "$(dirname "$report")"
with_server "$bin" "$program" "$(dirname "$0")/../configs/loadtest.toml" "$listen"

"$bin/loadtest" run --target "127.0.0.1:${target##*:}" --mode chat --connections "$connections" --rooms "$rooms" --rate 5000 \
  --interval "$((connections * 1000000 / rate))us" --duration "$duration" --html "$report" "$@"
