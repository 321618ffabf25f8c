# Sourced by the scripts beside it.

# with_echo BIN CONFIG ADDRESS: starts echo on a port that nobody uses, leaves what it listens on in $target, and stops it when the script
# ends, however it ends: `loadtest launch` has the kernel kill it with the script.
with_echo() {
  local bin=$1 config=$2 address=$3 port turn
  log=$(mktemp)
  server=
  trap stop_echo EXIT
  # One script at a time, for echo lets go of the port that it has tried for a moment before it listens there.
  exec {turn}<"${BASH_SOURCE[0]}"
  flock "$turn"
  for port in $(ports); do
    "$bin/loadtest" launch --parent "$$" -- "$bin/echo" "$config" --set "server.listen=\"$address:$port\"" --set 'log.format="json"' 2>"$log" {turn}<&- &
    server=$!
    if listens; then
      exec {turn}<&-
      return
    fi
    grep -q "cannot listen on $address:$port, another program" "$log" || break
  done
  cat "$log" >&2
  exit 1
}

# Ports to try, one after the other. None of those that the kernel gives to connections, for one of them may have it when a server wants
# to listen, unless it gives them all.
ports() {
  local first last port
  read -r first last </proc/sys/net/ipv4/ip_local_port_range
  for ((port = first - 1; port >= 1024 && port >= first - 50; port--)); do echo "$port"; done
  for ((port = last + 1; port <= 65535 && port <= last + 50; port++)); do echo "$port"; done
  echo 0
}

# Whether $server has come to listen, within ten seconds; leaves where in $target.
listens() {
  for _ in {1..100}; do
    target=$(sed -n 's/.*"message":"listening".*"addr":"\([^"]*\)".*/\1/p' "$log")
    [[ -n $target ]] && return
    kill -0 "$server" 2>/dev/null || return 1
    sleep 0.1
  done
  echo "echo did not start within 10 seconds" >&2
  return 1
}

stop_echo() {
  if [[ -n $server ]]; then
    kill -TERM "$server" 2>/dev/null || true
    wait "$server" || true
  fi
  rm -f "$log"
}
