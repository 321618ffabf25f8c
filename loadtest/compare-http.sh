#!/usr/bin/env bash
# CPU time of a request by HTTP: the example http_hello against a raw loop of epoll and httparse, under the same wrk or h2load, in turn:
# servers on core 0, the client on core 1. What `make compare-http` runs. Prints nanoseconds of CPU per request and the ratio
# http_hello / epoll_http of each round, and the middle one.
set -euo pipefail
bin=$1 rounds=${2:-5} seconds=${3:-4}
hello_port=7482 epoll_port=7481
source "$(dirname "$0")/median.sh"

for tool in wrk h2load; do
  command -v "$tool" >/dev/null || { echo "no $tool here: apt-get install wrk nghttp2-client" >&2; exit 1; }
done

"$bin/loadtest" launch --parent "$$" -- "$bin/baseline_epoll_http" "127.0.0.1:$epoll_port" 0 >/dev/null &
epoll=$!
"$bin/loadtest" launch --parent "$$" -- "$bin/examples/http_hello" --set "server.listen=\"127.0.0.1:$hello_port\"" \
  --set server.shards=1 --set 'server.cpus=[0]' 2>/dev/null &
hello=$!
trap 'kill "$hello" "$epoll" 2>/dev/null || true; wait || true' EXIT

for port in "$hello_port" "$epoll_port"; do
  for _ in {1..50}; do
    [[ $(curl -s "http://127.0.0.1:$port/") == hello ]] && break
    sleep 0.1
  done
done

# Nanoseconds on a processor so far, of all threads (proc(5), schedstat).
cpu() { cat /proc/"$1"/task/*/schedstat | awk '{ sum += $1 } END { printf "%.0f", sum }'; }
requests() { # PORT PIPELINED: how many were answered
  if (($2 == 1)); then
    taskset -c 1 wrk -t1 -c100 -d"${seconds}s" "http://127.0.0.1:$1/" | sed -n 's/ *\([0-9]*\) requests in.*/\1/p'
  else
    taskset -c 1 h2load --h1 -t1 -c100 -m"$2" -D"$seconds" "http://127.0.0.1:$1/" | sed -n 's/.* \([0-9]*\) succeeded.*/\1/p'
  fi
}
load() { # PID PORT PIPELINED: CPU nanoseconds of a request
  local before count after
  before=$(cpu "$1") count=$(requests "$2" "$3") after=$(cpu "$1")
  awk -v ns="$((after - before))" -v count="$count" 'BEGIN { printf "%.0f", ns / count }'
}

for pipelined in 1 16; do
  ratios=$(mktemp)
  for ((round = 1; round <= rounds; round++)); do
    a=$(load "$epoll" "$epoll_port" "$pipelined") b=$(load "$hello" "$hello_port" "$pipelined")
    awk -v a="$a" -v b="$b" -v p="$pipelined" -v ratios="$ratios" 'BEGIN {
      printf "100x%-3d epoll %5d ns   http_hello %5d ns   ratio %.3f\n", p, a, b, b / a; print b / a >>ratios }'
  done
  printf '100x%-3d middle ratio %.3f\n' "$pipelined" "$(median <"$ratios")"
  rm -f "$ratios"
done
