"""Damage recordings of all formats at random, and look whether any escapes.

    PYTHONPATH=. python tests/fuzz/fuzz_recordings.py --minutes=10 [--seed=1]

Every input is a small recording with some of its bytes changed, cut or taken from
another one. It is inspected and loaded as training does, in a child process with a
limit of memory and time. It must come out as samples, all finite and as many as the
inspection counted, or as BadRecording. Anything else is a finding: another exception, a
crash, a hang, too much memory. Findings are kept in --findings and the status is 1.
"""

import argparse
import collections
import contextlib
import json
import multiprocessing
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path

import av
import numpy as np
import torch

from local.audio import inspection, loading
from local.utils.errors import BadRecording
from tests.audio_files import ENCODERS, make_recording, sine

#: Extension and encoding of what is damaged; `metadata` is a WAV's metadata.json.
FORMATS = (
    *[("wav", kind) for kind in ("PCM_U8", "PCM_16", "PCM_24", "FLOAT", "DOUBLE")],
    *[("wav", kind) for kind in ("ULAW", "ALAW", "IMA_ADPCM", "MS_ADPCM", "GSM610")],
    *[(name, None) for name in ("rf64", "w64", "aiff", "au", "caf", "flac")],
    *[(name, None) for name in ("nist", "voc", "mat4", "mat5", "sds", "avr", "svx")],
    *[(name, None) for name in ("mp3", "ogg", "opus", *ENCODERS)],
    ("metadata", None),
)
BATCH = 500  # inputs per child
LIMIT_S = 20  # of computing for one input; they hold less than a second of sound
WAIT_S = 120  # and by the clock: the machine may be busy with other things
LIMIT_BYTES = 2 << 30  # beyond what the child has when it starts
INTERESTING = (0, 1, 2, 3, 7, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF)


def make_bases(folder):
    """A recording of every format that can be written here: name → folder."""
    bases = {}
    noise = np.random.default_rng(0).normal(scale=0.05, size=(48000, 2))
    for extension, subtype in FORMATS:
        rate = ENCODERS.get(extension, (0, 0, 16000))[2]
        rate = 48000 if extension == "opus" else 8000 if subtype == "GSM610" else rate
        is_mono = extension in ("amr", "sds", "svx") or subtype == "GSM610"
        channels = 1 if is_mono else 2
        samples = sine(0.4, rate, channels)
        samples = samples + noise[: len(samples), :channels]
        name = "-".join(filter(None, (extension, subtype)))
        written = "wav" if extension == "metadata" else extension
        with contextlib.suppress(av.codec.codec.UnknownCodecError):
            make_recording(folder / name, samples, rate, written, subtype)
            bases[name] = folder / name
    return bases


def damage(content, others, generator):
    """The bytes of a file with one to four kinds of damage."""
    content = bytearray(content)
    for _ in range(generator.integers(1, 5)):
        kind = generator.choice(
            ["bits", "bytes", "integer", "cut", "delete", "repeat", "splice"],
            p=[0.25, 0.2, 0.25, 0.05, 0.08, 0.07, 0.1],
        )
        _change(content, kind, others, generator)
    return bytes(content)


def _change(content, kind, others, generator):
    def place():
        # half of the damage is done to headers
        end = min(len(content), 200) if generator.random() < 0.5 else len(content)
        return int(generator.integers(0, max(end, 1)))

    start = place()
    length = int(2 ** generator.uniform(0, 10))
    if kind == "bits":
        for _ in range(generator.integers(1, 9)):
            if content:
                content[place() % len(content)] ^= 1 << generator.integers(8)
    elif kind == "bytes":
        content[start : start + length] = generator.bytes(
            len(content[start : start + length])
        )
    elif kind == "integer":
        width = int(generator.choice([1, 2, 4, 8]))
        value = int(generator.choice(INTERESTING)) % 256**width
        order = str(generator.choice(["little", "big"]))
        content[start : start + width] = value.to_bytes(width, order)
    elif kind == "cut":
        del content[start:]
    elif kind == "delete":
        del content[start : start + length]
    elif kind == "repeat":
        content[start:start] = content[start : start + length]
    else:
        other = others[generator.integers(len(others))]
        begin = int(generator.integers(len(other)))
        content[start : start + length] = other[begin : begin + length]


def write_input(bases, number, seed, folder):
    """Write the input of this number; gives the name of its format."""
    name = list(bases)[number % len(bases)]
    generator = np.random.default_rng([seed, number])
    base = bases[name]
    waveform = next(base.glob("waveform.*"))
    wanted = base / "metadata.json" if name == "metadata" else waveform
    others = [next(other.glob("waveform.*")).read_bytes() for other in bases.values()]
    for path in (waveform, base / "metadata.json"):
        content = path.read_bytes()
        if path == wanted:
            content = damage(content, others, generator)
        (folder / path.name).write_bytes(content)
    return name


def outcome(folder, number):
    """What becomes of the recording in a folder: "fine", "bad" or a finding."""
    backend = "librosa" if number % 8 == 7 else "soundfile"
    is_inspected = False
    try:
        files = loading.recording_files(folder)
        audio = loading.AudioFormat(audio_backend=backend)
        report = inspection.inspect_recording(files, audio)
        is_inspected = True
        metadata = loading.read_metadata(files)
        waveform = loading.load_recording(files, metadata, audio)
    except BadRecording as reason:
        if is_inspected:
            return f"inspected, but not loaded: {reason}"
        return "memory" if "more memory" in str(reason) else "bad"
    except BaseException as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__} in {Path(where.filename).name}: {error}"
    if not torch.isfinite(waveform).all():
        return "inspected, but loaded samples are not finite"
    if abs(len(waveform) / 16000 - report.duration_s) > 2 / 16000:
        return f"inspected {report.duration_s} s, loaded {len(waveform) / 16000} s"
    return "fine"


def run_batch(bases, numbers, seed, folder, results):
    """In a child: try inputs, a line of `results` for each."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # libraries complain there
    status = Path("/proc/self/status").read_text().split("VmData:")[1]
    limit = int(status.split()[0]) * 1024 + LIMIT_BYTES
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    for number in (signal.SIGALRM, signal.SIGPROF):
        signal.signal(number, signal.SIG_DFL)  # ends the process, wherever it is
    with results.open("a", buffering=1) as stream:
        for number in numbers:
            for path in folder.iterdir():
                path.unlink()
            name = write_input(bases, number, seed, folder)
            started = time.monotonic()
            signal.alarm(WAIT_S)
            signal.setitimer(signal.ITIMER_PROF, LIMIT_S)
            found = outcome(folder, number)
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.alarm(0)
            seconds = time.monotonic() - started
            stream.write(json.dumps([name, found, round(seconds, 3)]) + "\n")


def try_batch(bases, numbers, seed, folder):
    """Run a batch in children; one that dies takes only its input with it."""
    found, results, inputs = [], folder / "results", folder / "input"
    inputs.mkdir(exist_ok=True)
    context = multiprocessing.get_context("fork")
    while len(found) < len(numbers):
        results.unlink(missing_ok=True)
        left = numbers[len(found) :]
        child = context.Process(
            target=run_batch, args=(bases, left, seed, inputs, results)
        )
        child.start()
        child.join()
        lines = results.read_text().splitlines() if results.exists() else []
        found += [json.loads(line) for line in lines]
        if child.exitcode and len(found) < len(numbers):
            name = list(bases)[numbers[len(found)] % len(bases)]
            ended = signal.Signals(-child.exitcode).name
            if ended in ("SIGALRM", "SIGPROF"):
                ended += ", a hang"
            found.append([name, f"ended by {ended}", LIMIT_S])
    return found


def main():
    """Try inputs until the time is over; tell what became of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--findings", type=Path, default=Path("fuzz_findings"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    counts, slowest, number = collections.defaultdict(collections.Counter), (0.0,), 0
    n_findings = collections.Counter()
    end = time.monotonic() + 60 * options.minutes
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        bases = make_bases(folder / "bases")
        for backend in (0, 7):  # what is imported late, once for all children
            outcome(bases["wav-PCM_16"], backend)
        while time.monotonic() < end:
            numbers = range(number, number + BATCH)
            results = try_batch(bases, numbers, options.seed, folder)
            for number, (name, found, seconds) in zip(numbers, results, strict=True):
                kind = found if found in ("fine", "bad", "memory") else "finding"
                counts[name][kind] += 1
                slowest = max(slowest, (seconds, name, number))
                if kind == "finding":
                    n_findings[f"{name}: {found}"[:150]] += 1
                    kept = options.findings / f"{options.seed}-{number}"
                    kept.mkdir(parents=True, exist_ok=True)
                    write_input(bases, number, options.seed, kept)
                    (kept / "finding.txt").write_text(found + "\n")
            number += 1
    report(counts, n_findings, slowest)
    return 1 if n_findings else 0


def report(counts, n_findings, slowest):
    """Print a table of what became of the inputs, and the findings by kind."""
    columns = ("fine", "bad", "memory", "finding")
    print(f"| format | tried | {' | '.join(columns)} |\n|---|{'---|' * 5}")
    total = collections.Counter()
    for name, found in counts.items():
        total.update(found)
        shown = " | ".join(str(found[column]) for column in columns)
        print(f"| {name} | {found.total()} | {shown} |")
    shown = " | ".join(str(total[column]) for column in columns)
    print(f"| all | {total.total()} | {shown} |\nslowest input: {slowest}")
    for finding, n in n_findings.most_common():
        print(f"{n} × {finding}")


if __name__ == "__main__":
    sys.exit(main())
