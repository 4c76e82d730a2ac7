#!/bin/sh
# SPDX-License-Identifier: BSL-1.0
# Runs in the guest of tools_guest.py: Linux's virtio_blk on the target of examples/vhost_user_blk. Prints
# a line for each scenario, and a last one with their number. The disks:
#   vdb  a file, two queues
#   vdc  a file that takes 100 ms for each request
#   vdd  memory that takes 13 seconds
# When the host has killed the target three times, it writes `done` to the first block of the file.
cd /tmp || exit 1
# shellcheck source=tests/real/guest_checks.sh
. ./guest_checks.sh
exec 3>&1
verify() {
  /bin/fio --name=verify --rw=randrw --direct=1 --verify=crc32c --verify_fatal=1 --output-format=terse \
    "$@"
}
# are_in_flight: eight reads of the late disk are.
are_in_flight() {
  [ "$(cut -c1-8 /sys/block/vdd/inflight | tr -d ' ')" = 8 ]
}
# read_late: eight reads of the late disk at a time, in the background, which print a line when they have
# ended. Waits until they are in flight.
read_late() {
  for i in 1 2 3 4 5 6 7 8; do
    (
      dd if=/dev/vdd of=/dev/null bs=4k count=1 skip=$i iflag=direct 2>/dev/null
      echo "late read ended" >&3
    ) &
  done
  await are_in_flight
}

mkdir mnt
check "two queues" [ -d /sys/block/vdb/mq/1 ]
check "mke2fs" /bin/mke2fs -q -t ext4 /dev/vdb
check "mount" mount -t ext4 -o discard /dev/vdb mnt
check "fio" verify --directory=mnt --bsrange=4k-64k --size=4m --ioengine=psync --numjobs=2 --end_fsync=1
check "copy" cp /bin/e2fsck mnt/e2fsck
check "umount" umount mnt
check "mount again" mount -t ext4 /dev/vdb mnt
check "compare" cmp /bin/e2fsck mnt/e2fsck
check "umount again" umount mnt
check "e2fsck" /bin/e2fsck -fn /dev/vdb
scenario "ext4, files and fio with verify, discard"

is_done() { dd if=/dev/vdb bs=4k count=1 iflag=direct 2>/dev/null | grep -q '^done'; }
check "the first block is not written" is_not is_done
echo "kill the target"
# On a slow host more than one.
check "fio" verify --filename=/dev/vdc --bs=4k --size=1m --ioengine=libaio --iodepth=16
until [ "$failures" -ne "$failures_before" ] || is_done; do
  check "fio again" verify --filename=/dev/vdc --bs=4k --size=1m --ioengine=libaio --iodepth=16
done
scenario "the target killed three times with requests in flight, fio with verify"

device=$(readlink /sys/block/vdd/device)
device=${device##*/}
check "reads in flight" read_late
check "still in flight" are_in_flight
echo "$device" >/sys/bus/virtio/drivers/virtio_blk/unbind
wait
check "the disk is gone" [ ! -e /sys/block/vdd ]
echo "$device" >/sys/bus/virtio/drivers/virtio_blk/bind
check "a read after that" dd if=/dev/vdd of=/dev/null bs=4k count=1 iflag=direct
scenario "the driver unbound with eight reads in flight, and bound again"

# The machine ends with reads in flight: the lines of these reads do not come.
echo "the last reads begin"
check "reads in flight" read_late
check "still in flight" are_in_flight
scenario "the machine switched off with eight reads in flight"
finish
