# shellcheck shell=bash
# SPDX-License-Identifier: BSL-1.0
# The functions that tests/run, examples/run and bench/run share. A script sources this file, which
# runs nothing by itself.

say() { printf '%s\n' "$*"; }

die() {
  printf '%s: %s\n' "$0" "$*" >&2
  exit 1
}

# need_packages PACKAGE...: installs the Debian packages that are missing. Without root's rights, names
# them and exits.
need_packages() {
  if ! command -v dpkg-query >/dev/null; then
    say "not a Debian system: these packages are assumed to be installed: $*"
    return
  fi
  local package missing=()
  for package in "$@"; do
    case $(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true) in
      installed) ;;
      *) missing+=("$package") ;;
    esac
  done
  if [ ${#missing[@]} -eq 0 ]; then
    say "packages: all $# are installed"
    return
  fi
  if [ "$(id -u)" -ne 0 ]; then
    say "packages are missing, and only root may install them. As root:" >&2
    say "  apt-get install --no-install-recommends ${missing[*]}" >&2
    exit 1
  fi
  say "packages: installing ${missing[*]}"
  local log
  log=$(mktemp)
  if ! logged "$log" env DEBIAN_FRONTEND=noninteractive sh -c \
      'apt-get update && apt-get install -y --no-install-recommends "$@"' sh "${missing[@]}"; then
    tail -n 20 "$log" >&2
    die "apt-get could not install ${missing[*]}; all of its output is in $log"
  fi
  rm -f "$log"
}

# logged LOG COMMAND...: runs the command without stdin and with its output in LOG. Every 20 seconds,
# prints the last line of LOG.
logged() {
  local log=$1 heartbeat result=0
  shift
  : >"$log"
  (
    nap=
    trap 'kill "$nap" 2>/dev/null; exit' TERM
    while :; do
      sleep 20 >/dev/null 2>&1 &
      nap=$!
      wait "$nap"
      printf '    ... %s\n' "$(tail -n 1 "$log" | tr -d '\r' | cut -c 1-90)"
    done
  ) &
  heartbeat=$!
  "$@" >"$log" 2>&1 </dev/null || result=$?
  kill "$heartbeat" 2>/dev/null || true
  wait "$heartbeat" 2>/dev/null || true
  return "$result"
}
