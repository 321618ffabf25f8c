#!/usr/bin/env bash
# Throughput of ping against redis-server under redis-benchmark, in turn, all of them on the same cores and nothing pinned by hand: what a
# newcomer runs first. What `make compare-redis-shared` runs; flags after the rounds are for ping. Prints requests per second and medians.
set -euo pipefail
. "$(dirname "$0")/median.sh"
bin=$1 rounds=${2:-7}
ping_port=7480 redis_port=7479

redis-server --port "$redis_port" --save '' --appendonly no >/dev/null &
redis=$!
"$bin/ping" configs/ping.toml --set "server.listen=\"127.0.0.1:$ping_port\"" "${@:3}" 2>/dev/null &
ping=$!
trap 'kill "$ping" "$redis" 2>/dev/null || true; wait || true' EXIT

for port in "$ping_port" "$redis_port"; do
  for _ in {1..50}; do
    [[ $(redis-cli -p "$port" ping 2>/dev/null) == PONG ]] && break
    sleep 0.1
  done
done

rate() { # PORT FLAGS...: requests per second
  local port=$1
  shift
  timeout 120 redis-benchmark -p "$port" -t ping_mbulk --csv "$@" 2>/dev/null | awk -F '"' '/PING/ { print $4 }'
}

for flags in "-c 50 -n 200000" "-c 200 --threads 2 -n 200000"; do
  of_redis=() of_ping=() ratios=()
  for ((round = 1; round <= rounds; round++)); do
    # shellcheck disable=SC2086
    a=$(rate "$redis_port" $flags) b=$(rate "$ping_port" $flags)
    of_redis+=("$a") of_ping+=("$b") ratios+=("$(awk -v a="$a" -v b="$b" 'BEGIN { print b / a }')")
    printf 'redis-benchmark %-28s redis %.0f/s   ping %.0f/s   ratio %.3f\n' "$flags" "$a" "$b" "${ratios[-1]}"
  done
  printf 'redis-benchmark %-28s redis %.0f/s   ping %.0f/s   ratio %.3f   (medians)\n' "$flags" \
    "$(printf '%s\n' "${of_redis[@]}" | median)" "$(printf '%s\n' "${of_ping[@]}" | median)" "$(printf '%s\n' "${ratios[@]}" | median)"
done
