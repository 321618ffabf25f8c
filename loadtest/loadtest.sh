#!/usr/bin/env bash
# Starts echo on a port of its own choice, loads it, shows the report, stops it. What `make loadtest` runs.
set -euo pipefail
bin=$1 connections=$2 duration=$3 rate=$4
log=$(mktemp)
"$bin/echo" "$(dirname "$0")/../configs/loadtest.toml" --set 'server.listen="127.0.0.1:0"' --set 'log.format="json"' 2>"$log" &
server=$!
stop() {
  kill -TERM "$server" 2>/dev/null || true
  wait "$server" || true
  rm -f "$log"
}
trap stop EXIT

target=
for _ in {1..100}; do
  target=$(sed -n 's/.*"message":"listening".*"addr":"\([^"]*\)".*/\1/p' "$log")
  [[ -n $target ]] && break
  kill -0 "$server" 2>/dev/null || { cat "$log" >&2; exit 1; }
  sleep 0.1
done
[[ -n $target ]] || { echo "echo did not start within 10 seconds" >&2; cat "$log" >&2; exit 1; }

"$bin/loadtest" run --target "$target" --connections "$connections" --rate "$rate" --duration "$duration"
