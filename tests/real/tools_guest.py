#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
"""Runs a shell script in a Linux guest that has programs of this machine.

    tools_guest.py [OPTION]... SCRIPT [-- QEMU_OPTION...]

QEMU emulates the machine (TCG), so that no right is needed. The script runs as root, in a root file
system with busybox, the tools and their libraries. Its folder /tmp is writable and holds the files.
Its lines are printed as they come. The exit status is that of the script, or 1 after an error of the
guest, which is named in one line.

FOLDER (build/real) keeps the unpacked kernel. FOLDER/NAME keeps the disk with the tools, and
console.log: everything that the guest has printed.
"""
import argparse
import pathlib
import shutil
import subprocess
import sys

sys.dont_write_bytecode = True  # the folder of the sources stays as it is
import guest  # noqa: E402
import guest_image  # noqa: E402
from guest_image import GuestError, MARK  # noqa: E402

INIT = guest_image.BEGINNING + r'''mount -t ext4 -o ro /dev/vda /tools || fail "cannot mount the disk with the tools"
mount -t tmpfs tmpfs /tools/tmp && cp /files/* /tools/tmp || fail "no room for the files"
for folder in dev proc sys; do mount -o bind /$folder /tools/$folder; done
say "runs $(cat /proc/sys/kernel/osrelease)"
PATH=/bin:/sbin chroot /tools sh /tmp/script
say "status $?"
stop
'''
# The disk with the tools is the first disk, /dev/vda.
MODULES = ('drivers/block/virtio_blk',)


def libraries(program):
    """The shared libraries that the program needs, by the paths under which it looks for them."""
    found = set()
    for line in guest_image.run('ldd', str(program)).splitlines():
        words = [word for word in line.split() if word.startswith('/')]
        if not words:
            continue
        found.add(pathlib.Path(words[-1]))
    return found


def write_tools(path, tools):
    """Makes an ext4 image with the tools, unless it is newer than they and this file are."""
    programs = {}
    for tool in tools:
        program = shutil.which(tool, path='/usr/sbin:/sbin:/usr/bin:/bin')
        if program is None:
            raise GuestError(f'{tool} is not installed')
        programs[f'bin/{tool}'] = pathlib.Path(program)
    programs['bin/busybox'] = guest_image.BUSYBOX
    listed = path.with_suffix('.list')
    text = '\n'.join(sorted(programs)) + '\n'
    newest = max(each.stat().st_mtime for each in (*programs.values(), pathlib.Path(__file__)))
    if path.exists() and listed.exists() and listed.read_text() == text and \
            path.stat().st_mtime > newest:
        return
    tree = path.with_suffix('.tree')
    shutil.rmtree(tree, ignore_errors=True)
    for folder in ('bin', 'dev', 'etc', 'proc', 'sbin', 'sys', 'tmp'):
        (tree / folder).mkdir(parents=True)
    (tree / 'etc/passwd').write_text('root:x:0:0::/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n')
    for name, program in programs.items():
        shutil.copy(program, tree / name)
        if name == 'bin/busybox':
            continue
        for library in libraries(program):
            there = tree / library.relative_to('/')
            there.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(library, there)
    for applet in guest_image.run(str(guest_image.BUSYBOX), '--list').split():
        if not (tree / 'bin' / applet).exists():
            (tree / 'bin' / applet).symlink_to('busybox')
    used = int(guest_image.run('du', '-sm', str(tree)).split()[0])
    path.unlink(missing_ok=True)
    guest_image.run('/sbin/mke2fs', '-q', '-t', 'ext4', '-O', '^has_journal', '-d', str(tree),
                    str(path), f'{used + used // 8 + 16}M')
    shutil.rmtree(tree)
    listed.write_text(text)


def qemu_command(initramfs, image, tools, memory_mib, options):
    return ['qemu-system-x86_64', '-accel', 'tcg,thread=multi', '-cpu', 'max', '-smp', '2',
            '-m', str(memory_mib), '-display', 'none', '-serial', 'stdio', '-monitor', 'none',
            '-no-reboot', '-nic', 'none', '-nodefaults', *options,
            '-blockdev', f'driver=file,node-name=tools,filename={tools},read-only=on',
            '-device', 'virtio-blk-pci,drive=tools',
            '-kernel', str(image), '-initrd', str(initramfs),
            '-append', guest.KERNEL_ARGUMENTS]


def main():
    arguments, options = sys.argv[1:], []
    if '--' in arguments:
        at = arguments.index('--')
        arguments, options = arguments[:at], arguments[at + 1:]
    parser = argparse.ArgumentParser(description=__doc__.split('\n', 1)[0])
    parser.add_argument('--folder', type=pathlib.Path, default=pathlib.Path('build/real'))
    parser.add_argument('--name', default='tools', help="of the guest's files in the folder")
    parser.add_argument('--limit', type=int, default=guest.LIMIT_SECONDS,
                        help='of silence, in seconds')
    parser.add_argument('--memory', type=int, default=guest.MEMORY_MIB, help='in MiB')
    parser.add_argument('--module', action='append', default=[],
                        help="below the kernel's folder of modules, without .ko.xz")
    parser.add_argument('--file', type=pathlib.Path, action='append', default=[])
    parser.add_argument('--tool', action='append', default=[], help='a program of this machine')
    parser.add_argument('script', type=pathlib.Path)
    given = parser.parse_args(arguments)
    # QEMU splits its options at commas.
    folder = given.folder.absolute()
    if ',' in str(folder):
        sys.exit(f'{sys.argv[0]}: {folder}: QEMU takes no folder with a comma')
    folder.mkdir(parents=True, exist_ok=True)
    here = folder / given.name
    here.mkdir(exist_ok=True)
    try:
        unpacked = guest_image.kernel(folder / 'kernel')
        write_tools(here / 'tools.img', given.tool)
        files = {f'files/{path.name}': path.read_bytes() for path in given.file}
        files['files/script'] = given.script.read_bytes()
        loaded = guest_image.modules(unpacked, (*MODULES, *given.module))
        guest_image.write_archive(here / 'initramfs', INIT, loaded, files)
        command = qemu_command(here / 'initramfs', guest_image.vmlinuz(unpacked),
                               here / 'tools.img', given.memory, options)
        return guest.boot(here, command, given.limit)
    except (GuestError, OSError, subprocess.SubprocessError) as error:
        print(f'{sys.argv[0]}: the guest failed: {error}', file=sys.stderr)
        return 1


if __name__ == '__main__':
    sys.exit(main())
