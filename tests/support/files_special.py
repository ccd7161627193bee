# Checks of files_special_test.sh: `all DIR DIR` on two mounts of one instance, `keep DIR` before the servers die and
# `kept DIR` after they were started again.
import ctypes
import errno
import os
import subprocess
import sys


def refused(number, call, *arguments, **named):
    try:
        call(*arguments, **named)
    except OSError as error:
        assert error.errno == number, f"{call.__name__}{arguments[:2]}: {error}, not {errno.errorcode[number]}"
        return
    raise AssertionError(f"{call.__name__}{arguments[:2]} succeeds")


def extended_attributes(a, b):
    os.mkdir(a + "/x")
    open(a + "/x/file", "w").close()
    os.symlink("file", a + "/x/link")
    for name in ("/x", "/x/file", "/x/link"):
        path, other = a + name, b + name
        follow = name != "/x/link"
        # The kernel refuses user attributes of symbolic links.
        kind = "user." if follow else "trusted."
        get = lambda *arguments: os.getxattr(*arguments, follow_symlinks=follow)
        put = lambda *arguments: os.setxattr(*arguments, follow_symlinks=follow)
        if not follow and os.geteuid() != 0:
            continue
        refused(errno.ENODATA, get, path, kind + "a")
        refused(errno.ENODATA, put, path, kind + "a", b"1", os.XATTR_REPLACE)
        put(path, kind + "a", b"one", os.XATTR_CREATE)
        refused(errno.EEXIST, put, path, kind + "a", b"1", os.XATTR_CREATE)
        assert get(other, kind + "a") == b"one"
        put(other, kind + "a", b"two" * 1000, os.XATTR_REPLACE)
        assert get(path, kind + "a") == b"two" * 1000
        put(path, kind + "empty", b"")
        assert get(other, kind + "empty") == b""
        assert sorted(os.listxattr(other, follow_symlinks=follow)) == [kind + "a", kind + "empty"]
        os.removexattr(path, kind + "empty", follow_symlinks=follow)
        refused(errno.ENODATA, os.removexattr, path, kind + "empty", follow_symlinks=follow)
        refused(errno.ERANGE, put, path, "user." + "x" * 251, b"")
        refused(errno.E2BIG, put, path, kind + "b", b"x" * 65537)
        refused(errno.EOPNOTSUPP, put, path, "system.other", b"1")
    os.setxattr(a + "/x/file", "user.whole", b"w" * 65536)
    assert os.getxattr(b + "/x/file", "user.whole") == b"w" * 65536
    os.unlink(a + "/x/link")
    os.unlink(a + "/x/file")
    os.rmdir(a + "/x")


def holes_and_space(a, b):
    a, b = a + "/sparse", b + "/sparse"
    block = 1 << 20
    with open(a, "wb") as file:
        file.seek(20 * block)
        file.write(b"x" * block)
        file.truncate(40 * block)
    status = os.stat(b)
    assert status.st_size == 40 * block
    assert block <= status.st_blocks * 512 <= 2 * block, status
    file = os.open(b, os.O_RDWR)
    assert os.lseek(file, 0, os.SEEK_DATA) == 20 * block
    assert os.lseek(file, 20 * block, os.SEEK_HOLE) == 21 * block
    refused(errno.ENXIO, os.lseek, file, 21 * block, os.SEEK_DATA)
    assert subprocess.run(["cp", "--sparse=auto", a, "copied"], check=True).returncode == 0
    assert os.stat("copied").st_blocks * 512 <= 2 * block
    subprocess.run(["cmp", a, "copied"], check=True)
    os.unlink("copied")

    def fallocate(*arguments):
        subprocess.run(["fallocate", *arguments, a], check=True)

    fallocate("-l", str(4 * block + 5))
    assert os.stat(b).st_size == 40 * block
    assert os.stat(b).st_blocks * 512 >= 5 * block + 5
    fallocate("-o", str(40 * block), "-l", "1000")
    assert os.stat(b).st_size == 40 * block + 1000
    fallocate("-n", "-o", str(50 * block), "-l", str(block))
    assert os.stat(b).st_size == 40 * block + 1000
    fallocate("-p", "-o", str(20 * block + 100), "-l", str(block - 200))
    data = os.pread(file, block, 20 * block)
    assert data == b"x" * 100 + bytes(block - 200) + b"x" * 100
    fallocate("-p", "-o", "0", "-l", str(60 * block))
    assert os.stat(b).st_blocks == 0
    refused(errno.ENXIO, os.lseek, file, 0, os.SEEK_DATA)
    os.pwrite(file, b"y" * 5000, 0)
    fallocate("-z", "-o", "1000", "-l", "2000")
    assert os.pread(file, 5000, 0) == b"y" * 1000 + bytes(2000) + b"y" * 2000
    assert subprocess.run(["fallocate", "-c", "-o", "0", "-l", str(block), a], stderr=subprocess.DEVNULL).returncode != 0
    # More than both servers have: refused, and the size stays.
    refused(errno.ENOSPC, os.posix_fallocate, file, 0, 1 << 30)
    assert os.stat(b).st_size == 40 * block + 1000
    os.ftruncate(file, 0)
    # A range that the mount copies itself.
    os.pwrite(file, b"z" * 3000000, 0)
    other = os.open(a + "2", os.O_RDWR | os.O_CREAT)
    assert os.copy_file_range(file, other, 5000, 2999000, 7) == 1000
    assert os.pread(other, 2000, 0) == bytes(7) + b"z" * 1000
    os.close(other)
    os.close(file)
    os.unlink(a)
    os.unlink(b + "2")
    space = os.statvfs(os.path.dirname(b))
    assert space.f_blocks * space.f_frsize == 2 * (128 << 20), space


def exchange(a, b):
    libc = ctypes.CDLL(None, use_errno=True)

    def rename(old, new):
        if libc.renameat2(-100, old.encode(), -100, new.encode(), 2) != 0:
            raise OSError(ctypes.get_errno(), "renameat2")

    os.makedirs(a + "/e/below")
    for name in ("one", "two"):
        with open(a + "/e/" + name, "w") as file:
            file.write(name)
    rename(a + "/e/one", a + "/e/two")
    assert open(b + "/e/one").read() == "two"
    assert open(b + "/e/two").read() == "one"
    rename(b + "/e/one", b + "/e/below")
    assert os.path.isdir(a + "/e/one") and open(a + "/e/below").read() == "two"
    refused(errno.EINVAL, rename, a + "/e", a + "/e/one")
    refused(errno.ENOENT, rename, a + "/e/one", a + "/e/none")
    subprocess.run(["rm", "-r", a + "/e"], check=True)


def access_times(a, b):
    with open(a + "/read", "w") as file:
        file.write("content")
    os.utime(a + "/read", (1000, 2000))
    assert open(b + "/read").read() == "content"
    assert os.stat(a + "/read").st_atime > 1e9
    assert os.stat(a + "/read").st_mtime == 2000
    young = os.stat(a + "/read").st_ctime + 100
    os.utime(a + "/read", (young, 2000))
    assert open(b + "/read").read() == "content"
    assert os.stat(a + "/read").st_atime == young
    os.unlink(a + "/read")


def keep(a):
    os.mkdir(a + "/kept")
    open(a + "/kept/file", "w").close()
    for path in (a + "/kept", a + "/kept/file"):
        os.setxattr(path, "user.kept", path[-4:].encode() * 700)


def kept(b):
    for path in (b + "/kept", b + "/kept/file"):
        assert os.getxattr(path, "user.kept") == path[-4:].encode() * 700
    os.unlink(b + "/kept/file")
    os.rmdir(b + "/kept")


if sys.argv[1] == "all":
    for check in (extended_attributes, holes_and_space, exchange, access_times):
        check(*sys.argv[2:])
else:
    {"keep": keep, "kept": kept}[sys.argv[1]](*sys.argv[2:])
