"""What Python's own library does with files, each checked against what was written."""
import fcntl
import multiprocessing
import os
import pickle
import shutil
import sys
import tempfile
import zipfile

place = sys.argv[1]
tempfile.tempdir = place


def content(seed, size):
    return bytes((seed * 31 + i * 7) % 251 for i in range(size))


tree = os.path.join(place, "tree")
for name, size in (("a/one", 10), ("a/b/two", 70000), ("c/three", 0), ("c/four", 1500000)):
    path = os.path.join(tree, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(content(size, size))
shutil.copytree(tree, os.path.join(place, "copy"))
shutil.move(os.path.join(place, "copy"), os.path.join(place, "moved"))
for base, _, names in os.walk(tree):
    for name in names:
        path = os.path.join(base, name)
        with open(path, "rb") as one, open(path.replace("tree", "moved", 1), "rb") as two:
            assert one.read() == two.read() == content(os.path.getsize(path), os.path.getsize(path)), path
archive = shutil.make_archive(os.path.join(place, "archive"), "zip", tree)
with zipfile.ZipFile(archive) as zipped:
    assert zipped.testzip() is None
    assert zipped.read("c/four") == content(1500000, 1500000)
    zipped.extractall(os.path.join(place, "unzipped"))
shutil.rmtree(os.path.join(place, "moved"))
assert not os.path.exists(os.path.join(place, "moved"))

with tempfile.TemporaryFile() as file:
    file.write(content(1, 100000))
    file.seek(50000)
    assert file.read(10) == content(1, 100000)[50000:50010]
with tempfile.NamedTemporaryFile("w+", suffix=".txt") as file:
    print("hello", file=file, flush=True)
    with open(file.name, encoding="utf-8") as again:
        assert again.read() == "hello\n"
with tempfile.TemporaryDirectory() as folder:
    assert os.listdir(folder) == []

table = {i: str(i) * (i % 50) for i in range(3000)}
with open(os.path.join(place, "pickle"), "wb") as file:
    pickle.dump(table, file)
with open(os.path.join(place, "pickle"), "rb") as file:
    assert pickle.load(file) == table
assert {entry.name for entry in os.scandir(tree)} == {"a", "c"}

counter = os.path.join(place, "counter")
with open(counter, "w", encoding="utf-8") as file:
    file.write("0")


def count(times):
    for _ in range(times):
        with open(counter, "r+", encoding="utf-8") as file:
            fcntl.lockf(file, fcntl.LOCK_EX)
            value = int(file.read())
            file.seek(0)
            file.write(str(value + 1))
            file.truncate()
            file.flush()
            fcntl.lockf(file, fcntl.LOCK_UN)


workers = [multiprocessing.Process(target=count, args=(100,)) for _ in range(3)]
for worker in workers:
    worker.start()
for worker in workers:
    worker.join()
with open(counter, encoding="utf-8") as file:
    assert file.read() == "300"
