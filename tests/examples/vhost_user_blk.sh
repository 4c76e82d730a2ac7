#!/usr/bin/env bash
# SPDX-License-Identifier: BSL-1.0
#
# vhost_user_blk.sh CASE PROGRAM: runs the vhost-user-blk target as a user does, and checks its output and
# exit status.
set -euo pipefail
case=$1 program=$2
# shellcheck source=tests/examples/expect.sh
source "$(dirname "$0")/expect.sh"

folder=$(mktemp -d)
target=
trap '[ -z "$target" ] || kill "$target" 2>/dev/null || true; rm -rf "$folder"' EXIT

case $case in
  options)
    disk=$folder/s=memory:1m
    expect 0 "Usage: vhost_user_blk" "$program" --help
    expect 2 "no disk is given" "$program"
    expect 2 "cannot use '--frob'" "$program" --frob 1 "$disk"
    expect 2 "cannot use '--queues'" "$program" --queues 65 "$disk"
    expect 2 "cannot use '--depth'" "$program" --depth 100 "$disk"
    expect 2 "cannot use '--depth'" "$program" "$disk" --depth
    for wrong in memory:1m =memory:1m a=tape:1m a=memory:1x a=memory:100 a=memory:1m,frob a=file: \
        a=file:f,delay-ms=1; do
      expect 2 "cannot use '$wrong'" "$program" "$wrong"
    done
    expect 1 "$folder/none: No such file" "$program" "a=file:$folder/none"
    expect 1 "neither a file nor a block device" "$program" a=file:/dev/null
    head -c 1000 /dev/zero >"$folder/odd"
    expect 1 "not a whole number of sectors" "$program" "a=file:$folder/odd"
    expect 1 "Address already in use" "$program" "$folder/odd=memory:1m"
    [ "$(stat -c %s "$folder/odd")" = 1000 ] || die "a file at the path of the socket was replaced" ;;
  report)
    "$program" "$folder/s=memory:1m" >"$folder/out" 2>"$folder/err" &
    target=$!
    await "$folder/out" "listening: $folder/s"
    # A socket that is listened at is not taken away.
    expect 1 "Address already in use" "$program" "$folder/s=memory:1m"
    kill -USR1 "$target"
    await "$folder/err" "in flight: 0"
    kill -9 "$target"
    wait "$target" || true
    [ -S "$folder/s" ] || die "no socket is left behind"
    # One that was left behind is.
    "$program" "$folder/s=memory:1m" >"$folder/out2" 2>"$folder/err2" &
    target=$!
    await "$folder/out2" "listening: $folder/s"
    kill "$target"
    wait "$target" || die "status $?"
    target=
    await "$folder/err2" "lookups refused: none"
    [ ! -e "$folder/s" ] || die "the socket is still there" ;;
  descriptors)
    truncate -s 1M "$folder/file"
    for store in memory:1m "file:$folder/file"; do
      expect_few_descriptors listening: "$program" "$folder/s=$store"
    done ;;
  *) die "no such case" ;;
esac
