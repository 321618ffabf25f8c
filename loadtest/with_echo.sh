# Sourced by the scripts beside it: starts echo, leaves its address in $target, and stops it when the script ends, however it ends.
with_echo() {
  local bin=$1
  shift
  log=$(mktemp)
  "$bin/echo" "$@" --set 'log.format="json"' 2>"$log" &
  server=$!
  trap stop_echo EXIT
  target=
  for _ in {1..100}; do
    target=$(sed -n 's/.*"message":"listening".*"addr":"\([^"]*\)".*/\1/p' "$log")
    [[ -n $target ]] && return
    kill -0 "$server" 2>/dev/null || { cat "$log" >&2; exit 1; }
    sleep 0.1
  done
  echo "echo did not start within 10 seconds" >&2
  cat "$log" >&2
  exit 1
}

stop_echo() {
  kill -TERM "$server" 2>/dev/null || true
  wait "$server" || true
  rm -f "$log"
}
