#!/usr/bin/env bash
# Builds and tests on fresh machines: minimal Debians with what the README says a build needs and no more, the Rust of this machine and a
# clean checkout of HEAD. What `make fresh-machine` runs. FRESH= names the releases, MIRROR= where Debian comes from.
#
# Each has namespaces of its own for mounts and processes: at the end, however it comes, nothing stays mounted and nothing runs on.
set -euo pipefail
cd "$(dirname "$0")/.."
releases=${FRESH:-bookworm trixie sid}
fresh=$PWD/target/fresh
inside=
# A wait is interrupted by a signal, a command is not: what goes on inside is waited for. `unshare` ignores SIGTERM; its child dies with it.
trap '[[ -z $inside ]] || kill -KILL "$inside" 2>/dev/null || true' EXIT

main() {
  ((EUID == 0)) || refuse "this needs root, to make a Debian and to mount in it: run it with sudo"
  command -v debootstrap >/dev/null || refuse "debootstrap is missing: apt-get install debootstrap"
  [[ -z $(git status --porcelain --untracked-files=no) ]] || echo "note: what is not committed is left out"
  rust=$(rustc --print sysroot) crates=${CARGO_HOME:-$HOME/.cargo}/registry
  needed=$(sed -n 's/.*`apt-get install \([^`]*\)`.*/\1/p' README.md)
  mirror=${MIRROR:-$(apt-get indextargets --format '$(LABEL) $(REPO_URI)' | sed -n '/^Debian /{s///p;q}')}
  [[ -n $needed ]] || refuse "README.md does not say what to install"
  [[ -n $mirror ]] || refuse "apt knows no mirror of Debian: set MIRROR="
  cargo fetch --locked --quiet
  mkdir -p "$fresh/packages"

  failed=()
  for release in $releases; do
    log=$fresh/$release.log
    echo "== $release: $needed, nothing else (log: $log)"
    if { install && build_and_test; } >"$log" 2>&1; then
      echo "== $release: passed in $SECONDS s"
      rm -rf --one-file-system "$fresh/$release"
    else
      tail -n 40 "$log"
      echo "== $release: FAILED; it is kept in $fresh/$release"
      failed+=("$release")
    fi
    SECONDS=0
  done
  ((${#failed[@]} == 0)) || exit 1
}

install() {
  root=$fresh/$release
  rm -rf --one-file-system "$root"
  # It is thrown away again, so no write to it has to wait for the disk. What it mounts is gone with it, killed or not.
  DPKG_FORCE=unsafe-io unshare --mount --propagation private debootstrap --variant=minbase --cache-dir="$fresh/packages" --include="${needed// /,}" "$release" "$root" "$mirror" || return
  mkdir -p "$root"/{corelane,rust,cargo/registry}
  echo "127.0.0.1 localhost" >"$root/etc/hosts"
  git archive HEAD | tar -x -C "$root/corelane"
}

build_and_test() {
  unshare --mount --propagation private --pid --fork --kill-child bash -euo pipefail -s "$root" "$rust" "$crates" <<'INSIDE' &
root=$1
mount --bind "$root" "$root" # or tests could make no mount namespaces below it
mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys"
mount --rbind /dev "$root/dev"
mount --bind -o ro "$2" "$root/rust"
mount --bind -o ro "$3" "$root/cargo/registry"
chroot "$root" env -i PATH=/rust/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root CARGO_HOME=/cargo CARGO_NET_OFFLINE=true bash -euxc '
  cd /corelane
  make loadtest CONNECTIONS=1000 DURATION=5s
  make test
'
INSIDE
  inside=$!
  wait "$inside"
}

refuse() {
  echo "fresh-machine: $1" >&2
  exit 2
}

main
