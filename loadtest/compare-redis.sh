#!/usr/bin/env bash
# CPU time of ping against redis-server under the same redis-benchmark, in turn: servers on core 0, the client on core 1.
# What `make compare-redis` runs; flags after the rounds are for ping. Prints seconds of CPU per run and the ratio ping / redis.
set -euo pipefail
bin=$1 rounds=${2:-5}
ping_port=7480 redis_port=7479

"$bin/loadtest" launch --parent "$$" -- taskset -c 0 redis-server --port "$redis_port" --save '' --appendonly no >/dev/null &
redis=$!
"$bin/loadtest" launch --parent "$$" -- "$bin/ping" --set "server.listen=\"127.0.0.1:$ping_port\"" --set server.shards=1 --set 'server.cpus=[0]' "${@:3}" 2>/dev/null &
ping=$!
trap 'kill "$ping" "$redis" 2>/dev/null || true; wait || true' EXIT

for port in "$ping_port" "$redis_port"; do
  for _ in {1..50}; do
    [[ $(redis-cli -p "$port" ping 2>/dev/null) == PONG ]] && break
    sleep 0.1
  done
done

# Nanoseconds on a processor so far, of all threads (proc(5), schedstat).
cpu() { cat /proc/"$1"/task/*/schedstat | awk '{ sum += $1 } END { printf "%.0f", sum }'; }
load() { # PID PORT FLAGS...: CPU nanoseconds that the load cost the server
  local pid=$1 port=$2 before after
  shift 2
  before=$(cpu "$pid")
  taskset -c 1 timeout 120 redis-benchmark -p "$port" -t ping_mbulk -q "$@" >/dev/null 2>&1
  after=$(cpu "$pid")
  echo $((after - before))
}

for flags in "-c 50 -n 150000" "-c 50 -n 1000000 -P 16" "-c 1000 -n 150000"; do
  for ((round = 1; round <= rounds; round++)); do
    # shellcheck disable=SC2086
    a=$(load "$redis" "$redis_port" $flags) b=$(load "$ping" "$ping_port" $flags)
    awk -v a="$a" -v b="$b" -v flags="$flags" \
      'BEGIN { printf "redis-benchmark %-22s redis %.2f s   ping %.2f s   ratio %.3f\n", flags, a / 1e9, b / 1e9, b / a }'
  done
done
