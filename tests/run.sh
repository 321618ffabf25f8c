#!/usr/bin/env bash
# `cargo test --workspace`, and what failed once more: alone, twice. What `make test` runs.
#
# A thousand tests run beside each other on whatever the machine has. One of them may meet a moment that its author did not think of, and
# fail where nothing is broken. It is named at the end, as a thing to mend; the run has failed all the same if it fails again,
# or if there are more than RACES_MAX of its kind.
set -euo pipefail
cd "$(dirname "$0")/.."
readonly RACES_MAX=2
# Most tests wait for deadlines of a server and not for a core.
export RUST_TEST_THREADS=${RUST_TEST_THREADS:-$((2 * $(nproc)))}
log=$(mktemp)
trap 'rm -f "$log"' EXIT

main() {
  cargo test --workspace --no-fail-fast 2>&1 | tee "$log" && return
  mapfile -t tests < <(sed -n 's/^test \(.*\) \.\.\. FAILED$/\1/p' "$log" | sort -u)
  # Of each target that failed, as cargo lists them: one that has crashed has no result.
  targets=$(grep -c '^    `-p .*`$' "$log" || true) results=$(grep -c '^test result: FAILED' "$log" || true)
  ((${#tests[@]} > 0 && targets == results)) || fail "what was to be tested could not be built, or run to its end"
  ((${#tests[@]} <= RACES_MAX)) || fail "${#tests[@]} tests failed: ${tests[*]}"
  echo "== once more, alone: ${tests[*]}"
  for _ in first second; do
    # Of all targets, or cargo would build what they stand on anew, with fewer features.
    cargo test --workspace --no-fail-fast -- --exact --test-threads=1 "${tests[@]}" 2>&1 | tee "$log" || fail "it fails alone too"
    passed=$(grep -c '^test .* \.\.\. ok$' "$log" || true)
    ((passed >= ${#tests[@]})) || fail "only $passed of ${#tests[@]} tests were found again"
  done
  printf '== TO BE MENDED: %s failed beside the others and passed twice alone\n' "${tests[@]}"
}

fail() {
  echo "== $1" >&2
  exit 1
}

main
