"""Hostile input, and a process that takes it.

    python -m tests.fuzz FIRST COUNT                    mutated files of every kind
    python -m tests.fuzz all                            and recipes, trees, configurations, command lines: 10,000 inputs
    python -m tests.fuzz all 0.1 found.json             a tenth of each, and the counts in a file

The process may not grow by more than a cap, nor take more than seconds for an input. It prints one line for each that
ended otherwise than in a result or in one line of a ValueError or OSError.
"""

from __future__ import annotations

import functools
import json
import random
import resource
import signal
import struct
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ccm_jax.io.recordings import open_recording
from ccm_jax.io.safetensors import save_safetensors
from ccm_jax.io.weights import open_weights
from tests.torchfiles import Storage, Tensor, dump_pickle, pack_msgpack, write, write_legacy

CAP = 1 << 30  # bytes that the process may add to what it has when it starts
SECONDS = 20  # for one file, on a machine that has other things to do
NUMBERS = np.arange(24, dtype=np.float32)


def make_whole(folder: Path) -> list[Path]:
    """Whole files, one of each kind."""
    tensor = Tensor(Storage("FloatStorage", "0", 24), 0, (4, 6), (6, 1))
    state = {"model": {"w": tensor, "b": tensor}, "epoch": 3}
    tree = {"params": {"w": NUMBERS.reshape(4, 6), "b": NUMBERS[:3].astype(np.float16)}, "step": np.int64(3)}
    made = [write(folder / "a.pt", state, {"0": NUMBERS}), write_legacy(folder / "old.pt", state, {"0": NUMBERS})]
    made.append(save_safetensors(folder / "a.safetensors", {"w": NUMBERS, "n": np.arange(3)}, {"format": "pt"}))
    np.savez(folder / "a.npz", w=NUMBERS, n=np.arange(3))
    np.savez_compressed(folder / "small.npz", w=NUMBERS, n=np.arange(3))
    np.savez(folder / "frames.npz", frames=np.ones((3, 4, 4, 1), np.float32), dim=2)
    (folder / "a.msgpack").write_bytes(pack_msgpack(tree))
    (folder / "a.pkl").write_bytes(dump_pickle(tree))
    with open(folder / "a.eqx", "wb") as file:
        for leaf in (NUMBERS, np.arange(3)):
            np.save(file, leaf)
    save_safetensors(folder / "part-00001-of-00001.safetensors", {"w": NUMBERS})
    index = {"metadata": {"total_size": 96}, "weight_map": {"w": "part-00001-of-00001.safetensors"}}
    (folder / "a.safetensors.index.json").write_text(json.dumps(index))
    names = ("a.npz", "small.npz", "frames.npz", "a.msgpack", "a.pkl", "a.eqx", "a.safetensors.index.json")
    made += [folder / name for name in names]
    try:
        import h5py
        from scipy.io import netcdf_file, savemat
    except ModuleNotFoundError:
        return made
    for packed in (False, True):
        frames = {"a": np.ones((2, 4, 4)), "u": np.ones((2, 4, 4, 3)), "t": np.arange(1.0, 4)}
        savemat(folder / f"fno{packed:d}.mat", frames, do_compression=packed)
        made.append(folder / f"fno{packed:d}.mat")
    with netcdf_file(folder / "old.nc", "w") as file:
        for name, count in {"time": 3, "x": 4}.items():
            file.createDimension(name, count)
            file.createVariable(name, "f4", (name,))[:] = np.arange(count)
        file.createVariable("u", "f4", ("time", "x"))[:] = np.ones((3, 4))
    made.append(folder / "old.nc")
    with h5py.File(folder / "a.h5", "w") as file:
        file["tensor"] = np.ones((2, 3, 8), np.float32)
        file["x-coordinate"], file["t-coordinate"] = np.linspace(0, 1, 8), np.linspace(0, 1, 4)
        file.attrs["Nu"] = 0.01
    with h5py.File(folder / "groups.h5", "w") as file:
        file["0/data"], file["0/grid/t"] = np.ones((3, 4, 4, 1), np.float32), np.arange(3)
        file["0"].attrs["config"] = "sim: {Du: 1e-3}"
    with h5py.File(folder / "well.h5", "w") as file:
        file["dimensions/time"], file["t0_fields/u"] = np.arange(3), np.ones((2, 3, 4), np.float32)
        file["dimensions"].attrs["spatial_dims"], file["scalars/nu"] = ["x"], 0.1
    with h5py.File(folder / "scales.h5", "w") as file:
        file["u"] = np.ones((3, 4), np.float32)
        for i, (name, count) in enumerate({"time": 3, "x": 4}.items()):
            file[name] = np.arange(count)
            file[name].make_scale(name)
            file["u"].dims[i].attach_scale(file[name])
    return [*made, *(folder / f"{name}.h5" for name in ("a", "groups", "well", "scales"))]


def mutate(content: bytes, chance: random.Random) -> bytes:
    """A damaged copy: bits, numbers of four and eight bytes, pieces moved, doubled, left out or cut off."""
    out = bytearray(content)
    for _ in range(chance.choice([1, 1, 1, 2, 4, 16])):
        at, length = chance.randrange(len(out) or 1), chance.choice([1, 2, 4, 8, 32])
        number = chance.choice([0, 1, 0x7F, 0xFF, 0x7FFFFFFF, 0xFFFFFFFF, (1 << 63) - 1, (1 << 64) - 1])
        match chance.randrange(7):
            case 0 if out:
                out[at] ^= 1 << chance.randrange(8)
            case 1 if out:
                out[at] = chance.choice([0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)])
            case 2:
                out[at : at + 8] = struct.pack("<Q", number)[: len(out[at : at + 8])]
            case 3:
                out[at : at + 4] = struct.pack("<Q", number)[: len(out[at : at + 4])]
            case 4:
                del out[at : at + length]
            case 5:
                out[at:at] = out[at : at + length] * chance.choice([1, 2, 50])
            case 6 if chance.random() < 0.3:
                del out[at:]
    return bytes(out)


def read(path: Path) -> None:
    """Opens a file as what its name says, and reads its numbers once."""
    if path.suffix in (".h5", ".mat", ".nc") or path.name.startswith("frames"):
        recording = open_recording(path)
        if np.prod(recording.shape, dtype=float) < 1e6:
            recording.trajectory(0)
        return
    for leaf in open_weights(path).arrays.values():
        np.asarray(leaf).sum()


def outcome(run: Callable[[], None], refused: list[str] | None = None) -> str | None:
    """What is wrong with how a case ended; None if it went through, or was refused in one line (which is noted)."""
    try:
        run()
    except (ValueError, OSError) as error:
        text = str(error)
        if isinstance(error, TimeoutError):
            return text
        (refused if refused is not None else []).append(text)
        return f"several lines: {text!r}" if "\n" in text.strip() else None
    except BaseException as error:
        return f"{type(error).__name__}: {error} at {traceback.extract_tb(error.__traceback__)[-1]}"
    return None


def grown_by(cap: int) -> None:
    """Caps the memory that this process may map from now on."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + cap
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))


def too_long(*_: object) -> None:
    """Ends a file that hangs."""
    raise TimeoutError("too long")


def main(folder: Path, first: int, count: int) -> int:
    """Opens so many mutated files, and says which ended wrongly."""
    found = of_files(folder, first, count)
    print(f"{count} files, {found['wrong']} wrong, {found['peak_mib']} MiB at most")
    return int(found["wrong"] > 0)


def of_files(folder: Path, first: int, count: int) -> dict[str, Any]:
    """Opens so many mutated files: how many were read, refused, or ended wrongly."""
    whole = [(path, path.read_bytes()) for path in make_whole(folder)]
    for path, _ in whole:
        read(path)

    def case(number: int, folder: Path) -> None:
        path, content = whole[number % len(whole)]
        frames = path.name.startswith("frames")
        bad = folder / ("frames_bad.npz" if frames else f"bad{''.join(path.suffixes)}")
        bad.write_bytes(mutate(content, random.Random(number)))
        read(bad)

    return tried("files", case, folder, range(first, first + count))


def tried(kind: str, case: Callable[[int, Path], None], folder: Path, numbers: range) -> dict[str, Any]:
    """Runs cases, each within a time, and all within a memory, and says which ended wrongly."""
    warnings.simplefilter("ignore")
    before = resource.getrlimit(resource.RLIMIT_AS)
    signal.signal(signal.SIGALRM, too_long)
    begin, ends = time.monotonic(), {"read": 0, "refused": 0, "wrong": 0}
    grown_by(CAP)
    try:
        for number in numbers:
            (folder / "now").write_text(f"{kind} {number}")  # which one it was, if the process ends here
            refused: list[str] = []
            signal.alarm(SECONDS)
            found = outcome(functools.partial(case, number, folder), refused)
            signal.alarm(0)
            ends["wrong" if found else "refused" if refused else "read"] += 1
            if found:
                print(f"{kind} {number}: {found[:1000]}", flush=True)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    return {"tried": len(numbers), **ends, "seconds": round(time.monotonic() - begin, 1), "peak_mib": peak}


# How many of each kind one command tries; a kind's own seconds stand in its row.
COUNTS = {
    "files": 4000,
    "recipes": 3000,
    "descriptions": 800,
    "trees": 1200,
    "configurations": 300,
    "command lines": 900,
}


def every_kind(folder: Path, share: float, target: Path | None) -> int:
    """Tries every kind of input, and writes what came out beside the versions that it came out with."""
    from experiments.pipeline.store import write_result
    from tests.fuzz_input import CASES, digest

    found = {}
    for kind, count in COUNTS.items():
        place = folder / kind.replace(" ", "-")
        place.mkdir()
        numbers = range(max(1, round(share * count)))
        found[kind] = of_files(place, 0, len(numbers)) if kind == "files" else tried(kind, CASES[kind], place, numbers)
        print(f"{kind}: {found[kind]}", flush=True)
    changed = digest.changed()
    total = {key: sum(row[key] for row in found.values()) for key in ("tried", "wrong")}
    if target is not None:
        limits = {"seconds_for_one": SECONDS, "mib_added": CAP >> 20}
        write_result(target, {"kinds": found, **total, "inputs_changed": changed, "limits": limits})
    print(f"{total['tried']} inputs, {total['wrong']} wrong, {len(changed)} files of input changed")
    return int(total["wrong"] > 0 or bool(changed))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        words = sys.argv[1:]
        if words[:1] == ["all"]:  # all [SHARE [FILE.json]]
            output = Path(words[2]) if len(words) > 2 else None
            sys.exit(every_kind(Path(place), float(words[1]) if len(words) > 1 else 1.0, output))
        sys.exit(main(Path(place), int(words[0]), int(words[1])))
