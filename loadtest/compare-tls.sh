#!/usr/bin/env bash
# TLS on Corelane beside tokio-rustls, in turn, with a certificate made for it: CPU of an echo of 64 bytes and of 16 KiB, CPU of a full and of a
# resumed handshake, and p99 of 100 established connections while 2 000 handshakes arrive at once. Servers on core 0, the load tester on
# core 1. What `make compare-tls` runs; `--assert` exits with 1 unless an echo, and a full handshake, take at most what they take tokio-rustls.
# Handshakes per second and core are of the server's processor time, in which each connection also has one echo.
set -euo pipefail
bin=$1 rounds=$2 duration=$3
shift 3
. "$(dirname "$0")/median.sh"
assert=()
[[ ${1:-} == --assert ]] && assert=(--assert)
readonly PORT_OURS=7487 PORT_THEIRS=7488 ARRIVALS=2000
scratch=$(mktemp -d)
servers=()
trap 'kill "${servers[@]}" 2>/dev/null || true; wait || true; rm -rf "$scratch"' EXIT

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost -keyout "$scratch/key.pem" \
  -out "$scratch/certificate.pem" -addext subjectAltName=IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE 2>/dev/null
chmod 600 "$scratch/key.pem"
files=(--certificate "$scratch/certificate.pem" --key "$scratch/key.pem")

missed=
for payload in 64 16384; do
  echo "echoes of $payload bytes"
  "$bin/compare" --suite tls --bin-dir "$bin" --rounds "$rounds" --payload "$payload" "${files[@]}" "${assert[@]}" || missed=1
done

"$bin/loadtest" launch --parent "$$" -- "$bin/echo" --set "server.listen=\"127.0.0.1:$PORT_OURS\"" --set server.shards=1 --set 'server.cpus=[0]' \
  --set "listener.tls.certificate=\"$scratch/certificate.pem\"" --set "listener.tls.key=\"$scratch/key.pem\"" >/dev/null 2>"$scratch/ours.log" &
servers+=($!)
"$bin/loadtest" launch --parent "$$" -- "$bin/baseline_tokio_rustls" "127.0.0.1:$PORT_THEIRS" 0 "$scratch/certificate.pem" "$scratch/key.pem" \
  >/dev/null 2>"$scratch/theirs.log" &
servers+=($!)

run() { # PORT FLAGS...: the report's text
  local port=$1
  shift
  "$bin/loadtest" run --target "127.0.0.1:$port" --tls-ca "$scratch/certificate.pem" --cpus 1 "$@" 2>"$scratch/progress"
}

# Until both are there, for ten seconds.
for port in "$PORT_OURS" "$PORT_THEIRS"; do
  for _ in {1..50}; do
    run "$port" --mode storm --cycles 1 >/dev/null && continue 2
    sleep 0.2
  done
  cat "$scratch"/*.log "$scratch/progress" >&2
  exit 1
done

per_core() { # PORT FLAGS...: handshakes per second of the server's processor time
  if ! run "$@" --mode storm --connections 8 --duration "$duration" --warmup 0s >"$scratch/text" &&
    ! grep -q '^failures  *none' "$scratch/text"; then
    cat "$scratch/text" >&2
    return 1
  fi
  sed -n 's/^handshakes .*; \([0-9]*\)\/s per core of the server$/\1/p' "$scratch/text"
}

for kind in full resumed; do
  flags=()
  [[ $kind == full ]] && flags=(--tls-full)
  : >"$scratch/ratios"
  for ((round = 1; round <= rounds; round++)); do
    if ((round % 2)); then
      ours=$(per_core "$PORT_OURS" "${flags[@]}") theirs=$(per_core "$PORT_THEIRS" "${flags[@]}")
    else
      theirs=$(per_core "$PORT_THEIRS" "${flags[@]}") ours=$(per_core "$PORT_OURS" "${flags[@]}")
    fi
    awk -v ours="$ours" -v theirs="$theirs" -v kind="$kind" -v ratios="$scratch/ratios" 'BEGIN {
      printf "handshakes, %-8s corelane %6d/s a core   tokio-rustls %6d/s a core   ratio %.3f\n", kind, ours, theirs, ours / theirs
      print ours / theirs >>ratios }'
  done
  ratio=$(median <"$scratch/ratios")
  printf 'handshakes, %-8s middle ratio %.3f\n' "$kind" "$ratio"
  if [[ $kind == full ]] && awk -v ratio="$ratio" 'BEGIN { exit ratio >= 1 }'; then
    echo "handshakes, full: fewer a core than tokio-rustls"
    missed=1
  fi
done

# Those who arrive yield to those who are there: the load tester's own lateness is not the server's.
p99() { # PORT WHETHER: of the established, with others arriving or without; none if there was no report
  local arrivals= port=$1 told
  if [[ $2 == arriving ]]; then
    (sleep 2.5 && nice -n 19 "$bin/loadtest" run --target "127.0.0.1:$port" --tls-ca "$scratch/certificate.pem" --tls-full --cpus 1 --mode idle \
      --connections "$ARRIVALS" --connects-in-flight "$ARRIVALS" --duration 1s --warmup 0s --timeout 30s >"$scratch/arrivals" 2>/dev/null) &
    arrivals=$!
  fi
  run "$port" --connections 100 --interval 20ms --duration 4s >"$scratch/text" || true
  [[ -z $arrivals ]] || wait "$arrivals" || true
  told=$(sed -n 's/^latency .* p99 \([0-9]*\),.*/\1/p' "$scratch/text")
  echo "${told:-none}"
}

for ((round = 1; round <= (rounds + 1) / 2; round++)); do
  for who in "corelane $PORT_OURS" "tokio-rustls $PORT_THEIRS"; do
    read -r name port <<<"$who"
    printf 'p99 of 100 established, us: %-12s quiet %7s   while %d arrive %7s\n' "$name" "$(p99 "$port" quiet)" "$ARRIVALS" "$(p99 "$port" arriving)"
  done
done
[[ ${#assert[@]} == 0 || -z $missed ]]
