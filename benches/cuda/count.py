#!/usr/bin/env python3
"""Counts what the CUDA build asks of a device: count.py PROGRAM FOLDER, as count.sh calls it, which makes the FOLDER."""
import json
import os
import subprocess
import sys
from pathlib import Path

PROGRAM, FOLDER = sys.argv[1], Path(sys.argv[2])
# A run of the decoder may ask for so many launches and uploads for each layer, by pages that are read together.
BOUNDS = {1: (10, 0), 8: (10, 0), 16: (10, 0)}
# And for all else together.
BESIDE = (12, 3)
# Pages of examples/pages for faults, and tokens of their answers.
PAGES, TOKENS = ["note.pdf", "receipts.pdf"], 12
POINTS = 10

bad = 0


def say(good, what):
    global bad
    bad += not good
    print("ok  " if good else "BAD ", what, flush=True)


def run(arguments, **fake):
    """Runs the program on the driver; returns how it ended, what it printed, and the driver's counts."""
    log = FOLDER / "counts"
    log.unlink(missing_ok=True)
    environment = {**os.environ, "LD_LIBRARY_PATH": str(FOLDER / "driver"), "FAKE_LOG": str(log), "RUST_BACKTRACE": "0"}
    environment.update({f"FAKE_{name.upper()}": str(value) for name, value in fake.items()})
    done = subprocess.run([PROGRAM, *map(str, arguments)], env=environment, capture_output=True, text=True, timeout=600)
    counts = {}
    for line in log.read_text().splitlines() if log.exists() else []:
        name, times, size = line.rsplit(" ", 2)
        counts[name] = (int(times), int(size))
    return done, counts


def times(counts, name):
    return counts.get(name, (0, 0))[0]


def steps(layers, count, batch=1, pages=None, *more):
    """The counts of reading pages for so many runs of the decoder each."""
    arguments = ["steps", FOLDER / f"layers-{layers}", "--steps", count, "--batch", batch, "--pages", pages or batch, *more]
    done, counts = run(arguments)
    if done.returncode:
        sys.exit(f"count: {arguments} ended with {done.returncode}: {done.stdout}{done.stderr}")
    return counts


NAMES = {
    "launches": "launches", "uploads": "cuMemcpyHtoDAsync", "copies to the host": "cuMemcpyDtoHAsync",
    "events recorded": "cuEventRecord", "events waited for": "cuEventSynchronize", "allocations": "allocations",
    "waits for all": "cuStreamSynchronize",
}
UNRECORDED = ["cuEventSynchronize(never recorded)", "cuStreamWaitEvent(never recorded)"]


def of_a_step(layers, batch, *more):
    # A page of several blocks of tokens, so that attention divides them into parts.
    more = ["--side", 512, *more]
    short, long = steps(layers, 8, batch, None, *more), steps(layers, 24, batch, None, *more)
    # Page-locked memory has an event of its own, which cudarc waits for and, where nothing is tracked, never records: that
    # returns at once. What counts is the program's own event, below.
    copies = times(long, NAMES["copies to the host"])
    for name in UNRECORDED:
        say(times(long, name) <= copies, f"batch {batch}: {name}: {times(long, name)}, copies to the host: {copies}")
    return {what: (times(long, name) - times(short, name)) / 16 for what, name in NAMES.items()}


def decoding():
    for batch, bounds in BOUNDS.items():
        few, many = of_a_step(2, batch), of_a_step(6, batch)
        layer = {what: (many[what] - few[what]) / 4 for what in NAMES}
        rest = {what: few[what] - 2 * layer[what] for what in NAMES}
        found = (layer["launches"], layer["uploads"])
        beside = (rest["launches"], rest["uploads"])
        say(
            all(value <= bound for value, bound in zip(found + beside, bounds + BESIDE)),
            f"batch {batch}: {found[0]:g} launches and {found[1]:g} uploads a layer (bounds {bounds[0]}, {bounds[1]}), "
            f"{beside[0]:g} and {beside[1]:g} beside them (bounds {BESIDE[0]}, {BESIDE[1]})",
        )
        copies = tuple(many[what] for what in ("copies to the host", "events recorded", "events waited for"))
        say(copies == (1, 1, 1), f"batch {batch}: a step copies to the host, records an event and waits for it: {copies}")
        say(many["waits for all"] == 0, f"batch {batch}: waits for all that was asked for: {many['waits for all']:g}")
        print(f"     batch {batch}: {many['allocations']:g} allocations a step of 6 layers")
    waiting = of_a_step(2, 1, "--waits")
    say(waiting["copies to the host"] == 1, f"waiting: copies to the host: {waiting['copies to the host']:g}")


def pages():
    """Neither memory nor page-locked memory grows with the pages."""
    few, many = steps(2, 8, 2, 8), steps(2, 8, 2, 200)
    say(many["peak"] == few["peak"], f"most memory over 8 and 200 pages: {few['peak'][1]} and {many['peak'][1]} bytes")
    kept = [times(counts, "cuMemHostAlloc") - times(counts, "cuMemFreeHost") for counts in (few, many)]
    made = [times(counts, "cuMemHostAlloc") for counts in (few, many)]
    say(made[0] == made[1], f"page-locked memory over 8 and 200 pages: {made} times made, {kept} times kept")
    held = [times(counts, "cuMemAllocAsync") - times(counts, "cuMemFreeAsync") for counts in (few, many)]
    say(held[0] == held[1], f"memory that is left at the end of 8 and 200 pages: {held} times")


def products():
    """Single operations, with products that are computed. Kernels are not run, and what needs them is left out."""
    done, _ = run(["scores"], gemm=1)
    for line in done.stdout.splitlines():
        say(line.startswith("ok"), line[5:])
    say(done.returncode == 0, f"scores ended with {done.returncode}")


def extract(**fake):
    out = FOLDER / "out.jsonl"
    out.unlink(missing_ok=True)
    done, counts = run(
        ["extract", *(f"examples/pages/{page}" for page in PAGES), "-o", out, "--model", "examples/reader", "--device", "cuda",
         "--max-new-tokens", TOKENS, "--draft", "off", "--quiet"],
        **fake,
    )
    records = [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []
    return done, counts, records


def key(record):
    return record["path"], record["page"]


def faults():
    done, whole, records = extract()
    say(done.returncode == 0, f"{len(records)} pages without faults: ended with {done.returncode} {done.stderr[-300:]}")
    wanted = {key(record) for record in records}
    # What loading alone asks for, so that the points are a page's.
    _, start = run(["steps", "examples/reader", "--steps", 0, "--pages", 0])
    for what, name in [("oom", "allocations"), ("lost", "launches")]:
        first, last = times(start, name) + 1, times(whole, name) - 1
        ends, worst = set(), []
        for i in range(POINTS):
            at = first + (last - first) * i // (POINTS - 1)
            done, _, records = extract(**{what: at})
            keys = [key(record) for record in records]
            ends.add(done.returncode)
            if "panicked" in done.stderr or done.returncode < 0 or len(set(keys)) < len(keys):
                worst.append((at, done.returncode, done.stderr[-300:]))
            if what == "oom" and (set(keys) != wanted or done.returncode not in (0, 3)):
                worst.append((at, done.returncode, f"{len(keys)} of {len(wanted)} pages", done.stderr[-300:]))
            if what == "lost" and done.returncode == 0:
                worst.append((at, "ended well without a device"))
        say(not worst, f"{what} at {POINTS} points from {first} to {last}: ended with {sorted(ends)} {worst or ''}")


def without_kernels():
    """Candle's operations in place of the program's own kernels."""
    os.environ["OMNIDOCS_CUDA_KERNELS"] = "off"
    done, counts, records = extract()
    del os.environ["OMNIDOCS_CUDA_KERNELS"]
    own = sum(number for name, (number, _) in counts.items() if name.startswith("kernel:attend_"))
    say(done.returncode == 0 and records and own == 0, f"{len(records)} pages without kernels: ended with {done.returncode}, {own} launched")


decoding()
pages()
products()
without_kernels()
faults()
print(f"count: {bad} bad")
sys.exit(bad > 0)
