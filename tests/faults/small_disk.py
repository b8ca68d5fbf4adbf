"""A small file system of a test's own, to be filled, or to fail."""

import contextlib
import errno
import os
import pathlib
import re
import subprocess

import pytest

from harness.process import wait_until


def run(*command):
    return subprocess.run([str(word) for word in command], check=False, capture_output=True,
                          text=True, timeout=60)


class SmallDisk:
    """At path. kind: tmpfs, or ext4 on a loop device."""

    def __init__(self, path, kind, mebibytes=32):
        self.path, self.image = path, path.with_suffix(".image")
        self.kind, self.mebibytes = kind, mebibytes
        self.path.mkdir()
        if kind == "ext4":
            with self.image.open("wb") as image:
                image.truncate(mebibytes << 20)
            made = run("mkfs.ext4", "-q", "-F", "-m", "0", self.image)
            assert made.returncode == 0, made.stderr
        self.mount()

    def mount(self):
        if self.kind == "tmpfs":
            done = run("mount", "-t", "tmpfs", "-o", f"size={self.mebibytes}m", "none", self.path)
        else:
            done = run("mount", "-o", "loop,errors=remount-ro", self.image, self.path)
        if done.returncode != 0:
            pytest.skip(f"mount is not permitted here: {done.stderr.strip()}")

    def unmount(self):
        wait_until(lambda: run("umount", self.path).returncode == 0, f"umount of {self.path}")

    def fill(self):
        """Not a byte is left."""
        ballast = os.open(self.path / "ballast", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for size in (1 << 20, 1 << 12):
            with contextlib.suppress(OSError):
                while os.write(ballast, bytes(size)) == size:
                    pass
        try:
            os.write(ballast, bytes(1 << 12))
        except OSError as error:
            assert error.errno == errno.ENOSPC
        os.close(ballast)

    def free(self):
        (self.path / "ballast").unlink()

    def fail(self):
        """What an error of its metadata does to ext4: it is read-only until it is mounted anew."""
        mounts = pathlib.Path("/proc/mounts").read_text()
        device = re.search(rf"^/dev/(\S+) {re.escape(str(self.path))} ", mounts, re.MULTILINE)[1]
        trigger = pathlib.Path("/sys/fs/ext4") / device / "trigger_fs_error"
        if not trigger.exists():
            pytest.skip("mount is not permitted here: the kernel has no trigger_fs_error")
        trigger.write_text("1")

    def check_and_mount(self):
        self.unmount()
        run("e2fsck", "-p", "-f", self.image)  # 1: it has mended something
        checked = run("e2fsck", "-n", "-f", self.image)
        assert checked.returncode == 0, checked.stdout
        self.mount()

    def close(self):
        if str(self.path) in pathlib.Path("/proc/mounts").read_text():
            self.unmount()
