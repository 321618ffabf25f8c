#!/usr/bin/env bash
# A million connections: starts a server with configs/c1m.toml, opens them all, and has them do what the flags say. `make c1m` lets each
# speak to an echo every 30 seconds for a minute and watches them in silence; `make c1m-push` publishes to all. Bounded: the ramp by its rate,
# each wait by its timeout.
set -euo pipefail

# Two million sockets in the machine's table of them, which has some 262 144 chains, make chains of eight, and each connect walks several.
# A network namespace may have a table of its own (tcp_child_ehash_entries, Linux 6.1); `sleep` holds it open until we are in it.
entries=/proc/sys/net/ipv4/tcp_child_ehash_entries
if [[ -z ${C1M_HOLDER:-} && -w $entries ]] && unshare --net ip link set lo up 2>/dev/null; then
  before=$(<"$entries")
  trap 'echo "$before" >"$entries"' EXIT
  echo 4194304 >"$entries"
  unshare --net sleep 60 &
  until [[ $(readlink "/proc/$!/ns/net") != "$(readlink /proc/self/ns/net)" ]]; do sleep 0.01; done
  echo "$before" >"$entries"
  C1M_HOLDER=$! exec nsenter --net="/proc/$!/ns/net" "$0" "$@"
elif [[ -n ${C1M_HOLDER:-} ]]; then
  kill "$C1M_HOLDER"
  unset C1M_HOLDER
  ip link set lo up
fi

bin=$1 program=$2 connections=$3 duration=$4 rate=$5 report=$6
shift 6
. "$(dirname "$0")/with_server.sh"
mkdir -p "$(dirname "$report")"
with_server "$bin" "$program" "$(dirname "$0")/../configs/c1m.toml" 0.0.0.0

# With 4096 connects on their way at a time the ramp was some tenth slower, and a connect waited a hundred times longer.
"$bin/loadtest" run --target "127.0.0.1:${target##*:}" --connections "$connections" --rate "$rate" --connects-in-flight 800 \
  --duration "$duration" --timeout 30s --html "$report" "$@"
