#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
"""Runs one static program in a Linux guest, with an NVMe controller behind an IOMMU.

    guest.py [--folder FOLDER] [--limit SECONDS] PROGRAM [ARGUMENT...]

QEMU emulates the machine (TCG), so that no right is needed. The controller is bound to vfio-pci.
disk_options() lists its namespaces. The program gets the controller's PCI address and the arguments.
Its lines are printed as they come. The exit status is that of the program, or 1 after an error of the
guest, which is named in one line.

FOLDER (build/real) keeps the unpacked kernel, the disks, the sockets, and console.log: everything
that the guest has printed. That of the Nth boot is in console.log.N if the kernel was booted again.
"""
import argparse
import pathlib
import shlex
import subprocess
import sys
import threading
import time

sys.dont_write_bytecode = True  # the folder of the sources stays as it is
import guest_image  # noqa: E402
from guest_image import GuestError, MARK  # noqa: E402

MEMORY_MIB = 768
# no_timer_check: on a busy host the kernel's test of its timer fails, and the kernel panics.
# nvme_init: the kernel's own NVMe driver would look for partitions, and wait for the stuck namespace.
KERNEL_ARGUMENTS = ('console=ttyS0 panic=-1 quiet loglevel=1 mitigations=off no_timer_check '
                    'intel_iommu=on initcall_blacklist=nvme_init')
DISK_BYTES = 64 << 20
# The last block of the slow namespace is its gate. The digit that is written there, with zero bytes behind
# it, says what becomes of reads: 0, they go on; 1, they wait; 2, they go on in 300 ms. When the write has
# ended, that holds for all later reads.
GATE_BYTE = DISK_BYTES - 512
SLOW_READ = r'''while [ -e $tmpdir/gate ]; do sleep 0.02; done
dd if=@DISK@ iflag=skip_bytes,count_bytes,fullblock skip=$4 count=$3 bs=64k status=none'''
SLOW_WRITE = r'''if [ $4 -ne @GATE@ ]; then
  exec dd of=@DISK@ conv=notrunc oflag=seek_bytes seek=$4 bs=64k status=none
fi
case $(tr -d '\0') in
  0) rm -f $tmpdir/gate ;;
  1) : >$tmpdir/gate ;;
  2) (sleep 0.3; rm -f $tmpdir/gate) </dev/null >/dev/null 2>&1 & ;;
esac'''
# The host ends a guest that is silent for so long. Lines that come late are no failure.
LIMIT_SECONDS = 240
# A program of the host has started after this time, however busy the host is.
START_SECONDS = 120
MAX_BOOTS = 4


class Nbdkit:
    """An NBD server on a socket, whose disk is a file with a gate for reads."""

    def __init__(self, socket, disk):
        socket.unlink(missing_ok=True)

        def script(text):
            return text.replace('@DISK@', shlex.quote(str(disk))).replace('@GATE@', str(GATE_BYTE))
        command = ['nbdkit', '--foreground', '--exit-with-parent', '--unix', str(socket), 'eval',
                   f'get_size=echo {DISK_BYTES}', 'thread_model=echo parallel',
                   f'pread={script(SLOW_READ)}', f'pwrite={script(SLOW_WRITE)}']
        try:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL,
                                            stderr=subprocess.PIPE, text=True)
        except FileNotFoundError as error:
            raise GuestError('nbdkit is not installed') from error
        give_up = time.monotonic() + START_SECONDS
        while not socket.exists():
            if self.process.poll() is not None:
                raise GuestError(f'nbdkit: {self.process.stderr.read().strip()}')
            if time.monotonic() > give_up:
                self.stop()
                raise GuestError(f'nbdkit has made no socket within {START_SECONDS} s')
            time.sleep(0.02)

    def stop(self):
        self.process.terminate()
        self.process.wait()


def disk_options(folder):
    """QEMU's options for the namespaces, by namespace id:

    1  64 MiB in blocks of 512 bytes
    2  64 MiB in blocks of 4,096 bytes
    3  64 MiB, of which reads wait as the last block says (GATE_BYTE)
    4  64 MiB, of which the sector 2,048 cannot be read
    5  64 MiB of zeroes. A read waits a second for each byte that was read before it, or until the
       controller is reset: that drains the disk, which sets aside what throttles it. The reset completes
       such reads, and a driver may see that before the reset has ended
    6  the same, but such reads fail
    """
    for name in ('plain', 'large', 'failing', 'slow'):
        with open(folder / f'{name}.img', 'wb') as image:
            image.truncate(DISK_BYTES)

    def file_node(name):
        return f'driver=file,node-name={name}-file,filename={folder}/{name}.img,cache.no-flush=on'
    return [
        '-blockdev', file_node('plain'), '-blockdev', 'driver=raw,node-name=plain,file=plain-file',
        '-blockdev', file_node('large'), '-blockdev', 'driver=raw,node-name=large,file=large-file',
        '-blockdev',
        f'driver=nbd,node-name=slow,server.type=unix,server.path={folder}/slow.socket',
        '-object', 'throttle-group,id=stuck-reads,x-bps-read=1',
        '-blockdev', f'driver=null-co,node-name=zeroes,size={DISK_BYTES},read-zeroes=on',
        '-blockdev', 'driver=throttle,node-name=stuck,throttle-group=stuck-reads,file=zeroes',
        '-object', 'throttle-group,id=hopeless-reads,x-bps-read=1',
        '-blockdev', f'driver=null-co,node-name=null,size={DISK_BYTES}',
        '-blockdev', 'driver=blkdebug,node-name=unreadable,image=null,'
        'inject-error.0.event=none,inject-error.0.iotype=read,inject-error.0.errno=5',
        '-blockdev',
        'driver=throttle,node-name=hopeless,throttle-group=hopeless-reads,file=unreadable',
        '-blockdev', file_node('failing'),
        '-blockdev', 'driver=blkdebug,node-name=blkdebug,image=failing-file,'
        'inject-error.0.event=none,inject-error.0.iotype=read,inject-error.0.errno=5,'
        'inject-error.0.sector=2048',
        '-blockdev', 'driver=raw,node-name=failing,file=blkdebug',
        '-device', 'nvme,serial=blkown,id=nvme0,max_ioqpairs=4,msix_qsize=8,mdts=8',
        '-device', 'nvme-ns,drive=plain,bus=nvme0,nsid=1',
        '-device', 'nvme-ns,drive=large,bus=nvme0,nsid=2,logical_block_size=4096,'
        'physical_block_size=4096',
        '-device', 'nvme-ns,drive=slow,bus=nvme0,nsid=3',
        '-device', 'nvme-ns,drive=failing,bus=nvme0,nsid=4',
        '-device', 'nvme-ns,drive=stuck,bus=nvme0,nsid=5',
        '-device', 'nvme-ns,drive=hopeless,bus=nvme0,nsid=6']


def qemu_command(folder, image):
    """The machine: q35 with an IOMMU that also remaps interrupts, which VFIO demands."""
    return ['qemu-system-x86_64', '-accel', 'tcg,thread=multi', '-cpu', 'max', '-smp', '2',
            '-m', str(MEMORY_MIB), '-display', 'none', '-serial', 'stdio', '-monitor', 'none',
            '-no-reboot', '-nic', 'none', '-nodefaults', '-machine', 'q35',
            '-device', 'intel-iommu,intremap=on', *disk_options(folder),
            '-kernel', str(image), '-initrd', str(folder / 'initramfs'),
            '-append', KERNEL_ARGUMENTS]


class Console:
    """Reads the guest's console, prints the program's lines, and remembers what the guest said."""

    def __init__(self, log):
        self.log = log
        self.status = None
        self.error = None
        self.is_running = False
        self.last = 'nothing'
        self.panic = None
        self.has_run = False
        self.is_stale = False
        self.lines = 0

    def read(self, stream):
        for raw in stream:
            self.lines += 1
            self.log.write(raw)
            self.log.flush()
            line = raw.decode(errors='replace').strip('\r\n')
            if line.startswith(MARK):
                self.take(line.removeprefix(MARK).strip())
            elif self.is_running:
                print(line, flush=True)
            if line:
                self.last = line
            if 'Kernel panic' in line:
                self.panic = line
            if 'Oops: int3' in line and not self.has_run:
                self.is_stale = True

    def take(self, said):
        word, _, rest = said.partition(' ')
        if word == 'error':
            self.error = rest
        elif word == 'status':
            self.status, self.is_running = int(rest), False
        elif word == 'runs':
            self.is_running = self.has_run = True
            print(f'{MARK} {rest}', flush=True)


class Watch:
    """Kills QEMU when the console has been silent for `limit_seconds`. Counts seconds of its own sleep, so
    that a host that stands still for a while is one of them."""

    def __init__(self, qemu, console, limit_seconds):
        self.expired = False
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.run, args=(qemu, console, limit_seconds))
        self.thread.start()

    def run(self, qemu, console, limit_seconds):
        silent_seconds = lines = 0
        while not self.ended.wait(1):
            silent_seconds = silent_seconds + 1 if console.lines == lines else 0
            lines = console.lines
            if silent_seconds >= limit_seconds:
                self.expired = True
                qemu.kill()
                return

    def end(self):
        self.ended.set()
        self.thread.join()


def boot(folder, command, limit_seconds):
    """Runs QEMU until the guest ends, and returns the program's exit status.

    A kernel that dies of a breakpoint while it boots is booted again. Seen with QEMU 7.2 on a busy host: the
    breakpoint was one with which the kernel patches its code, and no longer in memory. Probably a processor
    of QEMU had translated that code while the other one patched it."""
    (folder / 'command').write_text(shlex.join(command) + '\n')
    for boots in range(1, MAX_BOOTS):
        (folder / f'console.log.{boots}').unlink(missing_ok=True)
    for boots in range(1, MAX_BOOTS + 1):
        console, watch, said = run_once(folder, command, limit_seconds)
        # A kernel that lived on has run the program, whose status counts.
        if not console.is_stale or console.status is not None or boots == MAX_BOOTS:
            break
        kept = (folder / 'console.log').rename(folder / f'console.log.{boots}')
        print(f'{MARK} a stale breakpoint while the kernel boots, see {kept}; again', flush=True)
    if watch.expired:
        raise GuestError(f'silent for {limit_seconds} s; its last line: {console.last}')
    if console.error is not None:
        raise GuestError(console.error)
    if console.status is None:
        reason = said.splitlines()[-1] if said else console.panic or f'last line: {console.last}'
        raise GuestError(f'it ended before the program did; {reason}')
    return console.status


def run_once(folder, command, limit_seconds):
    """Runs QEMU until it ends. Returns the console, the watch, and QEMU's own messages."""
    try:
        qemu = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE)
    except FileNotFoundError as error:
        raise GuestError('qemu-system-x86_64 is not installed') from error
    with open(folder / 'console.log', 'wb') as log:
        console = Console(log)
        watch = Watch(qemu, console, limit_seconds)
        try:
            console.read(qemu.stdout)
            said = qemu.stderr.read().decode(errors='replace').strip()
            qemu.wait()
        finally:
            watch.end()
            if qemu.poll() is None:
                qemu.kill()
    return console, watch, said


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n', 1)[0])
    parser.add_argument('--folder', type=pathlib.Path, default=pathlib.Path('build/real'))
    parser.add_argument('--limit', type=int, default=LIMIT_SECONDS, help='of silence, in seconds')
    parser.add_argument('program', type=pathlib.Path)
    parser.add_argument('arguments', nargs=argparse.REMAINDER)
    options = parser.parse_args()
    # QEMU splits its options at commas.
    folder = options.folder.absolute()
    if ',' in str(folder):
        sys.exit(f'{sys.argv[0]}: {folder}: QEMU takes no folder with a comma')
    folder.mkdir(parents=True, exist_ok=True)
    server = None
    try:
        unpacked = guest_image.kernel(folder / 'kernel')
        guest_image.write_initramfs(folder / 'initramfs', unpacked, options.program,
                                    options.arguments)
        command = qemu_command(folder, guest_image.vmlinuz(unpacked))
        server = Nbdkit(folder / 'slow.socket', folder / 'slow.img')
        return boot(folder, command, options.limit)
    except GuestError as error:
        print(f'{sys.argv[0]}: the guest failed: {error}', file=sys.stderr)
        return 1
    finally:
        if server is not None:
            server.stop()


if __name__ == '__main__':
    sys.exit(main())
