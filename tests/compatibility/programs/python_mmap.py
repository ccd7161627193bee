"""Private and shared mappings, seen by reads and by another process."""
import mmap
import multiprocessing
import os
import sys

path = os.path.join(sys.argv[1], "mapped")
with open(path, "wb") as file:
    file.write(bytes(300000))
with open(path, "r+b") as file:
    private = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    private[5:8] = b"own"
    assert os.pread(file.fileno(), 3, 5) == bytes(3)
    private.close()
    shared = mmap.mmap(file.fileno(), 0)
    shared[100000:100005] = b"hello"
    assert os.pread(file.fileno(), 5, 100000) == b"hello"
    os.pwrite(file.fileno(), b"world", 200000)
    assert shared[200000:200005] == b"world"

    def other():
        with open(path, "r+b") as again:
            mapped = mmap.mmap(again.fileno(), 0)
            assert mapped[100000:100005] == b"hello"
            mapped[0:5] = b"other"

    process = multiprocessing.Process(target=other)
    process.start()
    process.join()
    assert process.exitcode == 0
    assert shared[0:5] == b"other"
    shared.close()
