"""A file with contiguous, chunked and growing datasets and attributes, written and read again."""
import sys

import h5py
import numpy

values = numpy.arange(200000, dtype="f8").reshape(400, 500)
with h5py.File(sys.argv[1], "w") as file:
    group = file.create_group("group")
    group.create_dataset("plain", data=values)
    group.create_dataset("chunked", data=values, chunks=(50, 50), compression="gzip")
    growing = group.create_dataset("growing", shape=(0,), maxshape=(None,), dtype="i4", chunks=(1000,))
    for step in range(20):
        growing.resize((growing.shape[0] + 500,))
        growing[-500:] = step
    group.attrs["name"] = "store"
with h5py.File(sys.argv[1], "r+") as file:
    assert (file["group/plain"][:] == values).all()
    assert (file["group/chunked"][100:200, 3] == values[100:200, 3]).all()
    assert (file["group/growing"][::500] == numpy.arange(20)).all()
    assert file["group"].attrs["name"] == "store"
    file["group/plain"][7, :] = -1
with h5py.File(sys.argv[1], "r") as file:
    assert (file["group/plain"][7] == -1).all() and (file["group/plain"][8] == values[8]).all()
