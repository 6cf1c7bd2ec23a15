"""Run as a program: computes XSPEC components with the library of PyPI's xspectrampoline. JSON in, JSON out.

In a process of its own, since some components of that library end the process.
"""

import ctypes
import json
import os
import re
import sys

import numpy as np


def definitions():
    """Of each component, in lower case: the function's name in XSPEC's list, its kind and the defaults."""
    import xspectrampoline

    folder = os.path.dirname(xspectrampoline.__file__)
    (library,) = [name for name in os.listdir(folder) if name.startswith("LibXSPEC")]
    found = {}
    with open(f"{folder}/{library}/spectral/manager/model.dat") as file:
        for block in re.split(r"\n\s*\n", file.read()):
            lines = [line for line in block.splitlines() if line.strip()]
            if lines:
                name, _, _, _, function, kind = lines[0].split()[:6]
                found[name.lower()] = (function, kind)
    return found


def compute(function, values, edges, inside):
    library, count = ctypes.CDLL(None), len(edges) - 1
    single = not function.startswith(("C_", "c_", "F_"))
    number = np.float32 if single else np.float64
    arrays = [np.ascontiguousarray(each, number) for each in (edges, values, inside, np.zeros(count))]
    edges_, values_, flux, errors = (array.ctypes.data_as(ctypes.c_void_p) for array in arrays)
    if function.lower().startswith("c_"):
        call = getattr(library, "C_" + function[2:])
        call(edges_, ctypes.c_int(count), values_, ctypes.c_int(1), flux, errors, ctypes.c_char_p(b""))
    else:
        call = getattr(library, function.removeprefix("F_").lower() + "_")
        call(edges_, ctypes.byref(ctypes.c_int(count)), values_, ctypes.byref(ctypes.c_int(1)), flux, errors)
    return arrays[2]


def main():
    request = json.load(sys.stdin)
    known = definitions()
    ctypes.CDLL(None).FPCHAT(0)
    ctypes.CDLL(None).FPMSTR(b"APECROOT", request["plasma"].encode())
    edges = np.array(request["edges"])
    answers = []
    for name, values in request["runs"]:
        flux = compute(known[name][0], values, edges, np.zeros(len(edges) - 1))
        answers.append([float(value) for value in flux])
    with open(request["answer"], "w") as file:
        json.dump(answers, file)


if __name__ == "__main__":
    main()
