#!/usr/bin/env bash
# A chat on Corelane beside one on tokio, in turn, with the same lines said in both: CPU of the server for a delivery, and p99 of the
# latency of deliveries, in us. What `make compare-chat` runs; `--assert` exits with 1 unless the median ratios are below 1, further flags
# are for the load tester. Prints each round, then medians.
set -euo pipefail
bin=$1 duration=$2 rounds=$3
shift 3
. "$(dirname "$0")/median.sh"
bound=
if [[ ${1:-} == --assert ]]; then
  bound=1 && shift
fi
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# A run in which the load tester was the bottleneck says nothing of the server.
readonly ATTEMPTS=3

measure() { # PROGRAM CONNECTIONS ROOMS FLAGS...: CPU and p99
  local attempt program=$1 connections=$2 rooms=$3
  shift 3
  for ((attempt = 1; attempt <= ATTEMPTS; attempt++)); do
    if "$(dirname "$0")/chat_load.sh" "$bin" "$program" "$connections" "$rooms" "$duration" 200 "$scratch/report.html" "$@" \
      >"$scratch/text" 2>"$scratch/progress"; then
      figures
      return
    fi
    grep -q '^failures  *none' "$scratch/text" || break
  done
  cat "$scratch/progress" "$scratch/text" >&2
  return 1
}

figures() {
  awk '/^latency/ && match($0, /p99 [0-9]+/) { p99 = substr($0, RSTART + 4, RLENGTH - 4) }
    /^server/ && match($0, /[0-9.]+ us per delivery/) { cpu = substr($0, RSTART) + 0 }
    END { if (!cpu || !p99) { print "no figures in the report" >"/dev/stderr"; exit 1 } print cpu, p99 }' "$scratch/text"
}

missed=
summarize() { # WHAT COLUMN: the medians of a column, which is corelane's, the one beside it, and their ratio
  local what=$1 ours theirs ratio
  ours=$(cut -d ' ' -f "$2" "$scratch/rounds" | median)
  theirs=$(cut -d ' ' -f $(($2 + 1)) "$scratch/rounds" | median)
  ratio=$(awk -v of="$2" '{ print $of / $(of + 1) }' "$scratch/rounds" | median)
  printf '%-30s corelane %9.2f   tokio %9.2f   ratio %.3f   (medians)\n' "$what" "$ours" "$theirs" "$ratio"
  if awk -v ratio="$ratio" 'BEGIN { exit ratio < 1 }'; then
    echo "$what: not below tokio's" && missed=1
  fi
}

for case in "10000 100" "200 20"; do
  read -r connections rooms <<<"$case"
  echo "$connections connections in $rooms rooms, 200 lines a second"
  : >"$scratch/rounds"
  for ((round = 1; round <= rounds; round++)); do
    if ((round % 2)); then
      ours=$(measure chat "$connections" "$rooms" "$@")
      theirs=$(measure baseline_tokio_chat "$connections" "$rooms" "$@")
    else
      theirs=$(measure baseline_tokio_chat "$connections" "$rooms" "$@")
      ours=$(measure chat "$connections" "$rooms" "$@")
    fi
    echo "${ours% *} ${theirs% *} ${ours#* } ${theirs#* }" | tee -a "$scratch/rounds" |
      awk '{ printf "  CPU %.2f, tokio %.2f   p99 %.0f, tokio %.0f\n", $1, $2, $3, $4 }'
  done
  summarize "  CPU of a delivery" 1
  summarize "  p99 of the latency" 3
done
[[ -z $bound || -z $missed ]]
