#!/usr/bin/env bash
# SPDX-License-Identifier: BSL-1.0
#
# nbd_copy.sh CASE NBD_COPY NBD_SERVER: runs nbd_copy on files and on nbd_server, and checks its
# output, its exit status and the copies.
set -euo pipefail
case=$1 program=$2 server=$3

# The path of a socket is at most 107 bytes long.
folder=$(mktemp -d -t blkown-nbd-copy.XXXXXX)
socket=$folder/socket
uri="nbd+unix:///disk?socket=$socket"
pid=
cleanup() {
  [ -z "$pid" ] || kill "$pid" 2>/dev/null || true
  rm -rf "$folder"
}
trap cleanup EXIT
cd "$folder"

die() { echo "$case: $*" >&2; exit 1; }

# expect STATUS TEXT ARGUMENT...: nbd_copy exits with STATUS and prints a line with TEXT.
expect() {
  local status=$1 text=$2 seen=0 out
  shift 2
  out=$(timeout 60 "$program" "$@" 2>&1) || seen=$?
  [ "$seen" -eq "$status" ] || die "status $seen, not $status: $*: $out"
  grep -qF -- "$text" <<<"$out" || die "no '$text': $*: $out"
}

# serve STORE: starts the server, with an export called disk.
serve() {
  "$server" --unix "$socket" "disk=$1" >server.log 2>&1 &
  pid=$!
  for _ in $(seq 600); do
    # The socket exists before the server listens on it: 00010000 is the flag of one that listens.
    ! awk -v path="$socket" '$4 == "00010000" && $8 == path { found = 1 }
      END { exit !found }' /proc/net/unix || return 0
    sleep 0.05
  done
  die "the server does not listen: $(cat server.log)"
}

head -c 1000000 /dev/urandom >image
truncate -s 2M image

case $case in
  files)
    expect 0 "copied 2097152 bytes, of which 1048576 as zeroes" --chunk 65536 image copy
    cmp image copy
    [ "$(stat -c '%b' copy)" -lt 4096 ] || die "zeroes were written"
    head -c 12345 image >odd
    expect 0 "checked 12345 bytes: equal" --check odd copy
    cmp odd copy
    : >empty
    expect 0 "copied 0 bytes" --check empty copy
    cmp empty copy
    expect 1 "image: the same file as the source" image image
    [ "$(stat -c '%s' image)" -eq 2097152 ] || die "the image was emptied"
    expect 1 "nothing: No such file or directory" nothing copy
    expect 1 "No such file or directory" image no/copy
    expect 1 "neither a file nor a block device" /dev/null copy ;;
  options)
    expect 0 "Usage: nbd_copy" --help
    expect 2 "takes SRC and DST" image
    expect 2 "see --help" --unknown image copy
    expect 2 "is no number from 65536 to" --chunk 1000 image copy
    expect 2 "see --help" --chunk 65537 image copy
    expect 2 "'0' is no number from 1 to 64" --connections 0 image copy
    expect 2 "'1x' is no number" --tries 1x image copy
    expect 1 "TLS is not supported" image nbds://localhost
    expect 1 "no socket=PATH" image nbd+unix:///disk
    expect 1 "cannot connect" image "$uri"
    expect 1 "socket path too long" image "$uri$(printf '%0200d' 0)"
    [ ! -e copy ] || die "a copy was made" ;;
  server)
    serve memory:2m
    expect 0 "checked 2097152 bytes: equal" --check image "$uri"
    expect 0 "0 lost, 0 attempts failed, 0 timeouts, 0 violations, 0 lookups refused" "$uri" copy
    cmp image copy
    expect 1 "the server has no such export" "nbd+unix:///other?socket=$socket" copy
    truncate -s 3M image
    expect 1 "smaller than the source" image "$uri" ;;
  *) die "no such case" ;;
esac
