# Sourced by the scripts beside it.

# with_server BIN PROGRAM CONFIG ADDRESS: starts a server on a port that nobody uses, leaves what it listens on in $target, and stops it
# when the script ends, however it ends: `loadtest launch` has the kernel kill it with the script. A baseline has no settings.
with_server() {
  local bin=$1 program=$2 config=$3 address=$4 port turn arguments
  log=$(mktemp)
  server=
  trap stop_server EXIT
  # One script at a time, for echo lets go of the port that it has tried for a moment before it listens there.
  exec {turn}<"${BASH_SOURCE[0]}"
  flock "$turn"
  for port in $(ports); do
    arguments=("$config" --set "server.listen=\"$address:$port\"" --set 'log.format="json"')
    [[ $program == baseline_* ]] && arguments=("$address:$port" any)
    "$bin/loadtest" launch --parent "$$" -- "$bin/$program" "${arguments[@]}" >"$log" 2>&1 {turn}<&- &
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
    target=$(sed -n -e 's/.*"message":"listening".*"addr":"\([^"]*\)".*/\1/p' -e 's/^listening //p' "$log")
    [[ -n $target ]] && return
    kill -0 "$server" 2>/dev/null || return 1
    sleep 0.1
  done
  echo "the server did not start within 10 seconds" >&2
  return 1
}

stop_server() {
  if [[ -n $server ]]; then
    kill -TERM "$server" 2>/dev/null || true
    wait "$server" || true
  fi
  rm -f "$log"
}
