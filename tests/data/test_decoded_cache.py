"""data.decoded_cache: the same samples again, and never anything else."""

import errno
import multiprocessing
import shutil
import struct
import zlib

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from audio_files import pcm_wav, sine, write_metadata
from running import succeeded, train

from local.audio import loading
from local.data import dataset as dataio
from local.data import decoded_cache, prepare
from local.data.decoded_cache import DecodedCache, step_exponent
from local.data.recordings import FolderRecordings
from local.data.windows import LongRecordings
from local.utils.errors import BadRecording, UserError
from local.utils.yaml_files import plain_values

SETTINGS = {"sample_rate": 8000, "backend": "soundfile", "mono": "mean"}


@pytest.fixture
def cache(tmp_path):
    return DecodedCache(tmp_path / "cache")


def recording(folder, content=None):
    """The files of a recording; 8 kHz, full scale on both sides."""
    folder.mkdir(parents=True, exist_ok=True)
    content = content or pcm_wav([-32768, -1, 0, 1, 12345, 32767])
    (folder / "waveform.wav").write_bytes(content)
    write_metadata(folder, encoding="WAV", sample_rate_hz=8000)
    return loading.recording_files(folder)


def load(cache, files, uid="a", **more):
    metadata = loading.read_metadata(files)
    return cache.load(uid, files, metadata, **{**SETTINGS, **more})


def entries(cache):
    return sorted(cache.folder.rglob("*.pcm"))


@pytest.fixture
def decoded(monkeypatch):
    """What was decoded, one entry per call."""
    calls, original = [], loading.load_recording

    def watched(files, *args, **kwargs):
        calls.append(kwargs)
        return original(files, *args, **kwargs)

    monkeypatch.setattr(loading, "load_recording", watched)
    return calls


# The samples


def test_16_bits_come_back_bit_for_bit(cache, tmp_path, decoded):
    files = recording(tmp_path / "r")
    for _ in range(3):
        waveform = load(cache, files)
        assert waveform.dtype == torch.float32
        assert (waveform * 2**15).tolist() == [-32768, -1, 0, 1, 12345, 32767]
    assert len(decoded) == 1


def test_a_file_by_hand(cache, tmp_path):
    """0.75 and -0.25 need steps of 2^-15: 24576 and -8192."""
    load(cache, recording(tmp_path / "r", pcm_wav([24576, -8192])))
    content = entries(cache)[0].read_bytes()
    body = struct.pack("<hQ2h", -15, 2, 24576, -8192)
    assert content[24:-4] == body
    assert content[-4:] == struct.pack("<I", zlib.crc32(content[:-4]))


@pytest.mark.parametrize(
    ("peak", "exponent"),
    # 32767 steps reach up to the peak: 2^-15 for full scale, less for less
    [(1.0, -14), (-1.0, -15), (0.99, -15), (0.4, -16), (3.7, -13), (-4.0, -13)],
)
def test_the_step_fits_the_peak(peak, exponent):
    assert step_exponent(torch.tensor([0.0, peak])) == exponent


def test_silence_and_what_is_no_number():
    assert step_exponent(torch.zeros(3)) == -16
    assert step_exponent(torch.tensor([1e-30, 0])) == -60
    for bad in (float("nan"), float("inf")):
        assert step_exponent(torch.tensor([0.1, bad])) is None


@pytest.mark.parametrize("amplitude", [3.7, 1.0, 0.3, 1e-4])
def test_nothing_is_clipped_and_quiet_recordings_keep_16_bits(
    cache, tmp_path, amplitude
):
    files = recording(tmp_path / "r")
    samples = sine(rate=44100, amplitude=amplitude)
    soundfile.write(files["waveform.wav"], samples, 44100, subtype="FLOAT")
    original = loading.load_recording(files, {"encoding": "WAV"}, **SETTINGS)
    first, again = load(cache, files), load(cache, files)
    assert torch.equal(first, again)  # whether it was there or not
    assert float((first - original).abs().max()) <= original.abs().max() * 2.0**-15


def test_samples_that_are_no_numbers_are_not_kept(cache, tmp_path):
    files = recording(tmp_path / "r")
    samples = np.array([0.1, np.nan, 0.2])
    soundfile.write(files["waveform.wav"], samples, 8000, subtype="FLOAT")
    assert load(cache, files).isnan().tolist() == [False, True, False]
    assert entries(cache) == []


def test_what_can_not_be_read_is_told_as_ever(cache, tmp_path):
    files = recording(tmp_path / "r", b"no audio")
    with pytest.raises(BadRecording, match="no audio that"):
        load(cache, files)
    files["waveform.wav"].unlink()
    with pytest.raises(BadRecording, match="can't be read"):
        load(cache, files)
    assert entries(cache) == []


# What the key holds


@pytest.mark.parametrize(
    "other",
    [
        {"sample_rate": 4000},
        {"backend": "librosa"},
        {"mono": "sum"},
        {"channel": 0},
        {"start_s": 0.00025},
        {"end_s": 0.0005},
    ],
    ids=str,
)
def test_other_settings_are_another_entry(cache, tmp_path, other, decoded):
    files = recording(tmp_path / "r")
    load(cache, files)
    found = load(cache, files, **other)
    expected = loading.load_recording(
        files, {"encoding": "WAV"}, **{**SETTINGS, **other}
    )
    assert len(found) == len(expected)
    assert len(entries(cache)) == 2
    assert len(decoded) == 3


def test_other_bytes_or_libraries_are_another_entry(
    cache, tmp_path, decoded, monkeypatch
):
    files = recording(tmp_path / "r")
    load(cache, files)
    recording(tmp_path / "r", pcm_wav([1, 2, 3, 4, 5, 6]))  # of the same size
    assert (load(cache, files) * 2**15).tolist() == [1, 2, 3, 4, 5, 6]
    monkeypatch.setattr(decoded_cache, "VERSIONS", ("another",))
    load(cache, files)
    assert len(decoded) == 3


def test_a_moved_recording_is_still_known(cache, tmp_path, decoded):
    load(cache, recording(tmp_path / "r"))
    load(cache, recording(tmp_path / "elsewhere"))
    assert len(decoded) == 1


def test_a_file_that_changes_meanwhile_is_not_kept(cache, tmp_path, monkeypatch):
    files = recording(tmp_path / "r")
    original = loading.load_recording

    def replaced(*args, **kwargs):
        recording(tmp_path / "r", pcm_wav([1, 2]))
        return original(*args, **kwargs)

    monkeypatch.setattr(loading, "load_recording", replaced)
    assert len(load(cache, files)) == 2
    assert entries(cache) == []


# Damage


def damages():
    return {
        "empty": lambda content: b"",
        "header only": lambda content: content[:34],
        "cut": lambda content: content[:-1],
        "longer": lambda content: content + b"\0",
        "a bit of a sample": lambda content: (
            content[:36] + bytes([content[36] ^ 1]) + content[37:]
        ),
        "the step": lambda content: content[:24] + b"\0" + content[25:],
        "the number": lambda content: content[:26] + b"\xff" * 8 + content[34:],
        "the format": lambda content: b"OTHER" + content[5:],
        "another's": lambda content: content[:8] + bytes(16) + content[24:],
        "text": lambda content: b"hello " * 100,
    }


@pytest.mark.parametrize("damage", damages().values(), ids=damages())
def test_damaged_files_are_never_believed(cache, tmp_path, decoded, damage):
    files = recording(tmp_path / "r")
    waveform = load(cache, files)
    entry = entries(cache)[0]
    good = entry.read_bytes()
    entry.write_bytes(damage(good))
    assert torch.equal(load(cache, files), waveform)
    assert len(decoded) == 2
    assert entry.read_bytes() == good  # replaced
    assert torch.equal(load(cache, files), waveform)
    assert len(decoded) == 2


def test_another_recordings_file_is_never_believed(cache, tmp_path):
    files = recording(tmp_path / "r")
    waveform = load(cache, files)
    own = entries(cache)[0]
    load(cache, recording(tmp_path / "s", pcm_wav([7, 8, 9])), uid="b")
    other = next(entry for entry in entries(cache) if entry != own)
    shutil.copy(other, own)  # whole, but not of this key
    assert torch.equal(load(cache, files), waveform)


# The folder


@pytest.fixture
def warned(monkeypatch):
    """The warnings that were given."""
    messages = []

    def warning(text, *args):
        messages.append(text % args)

    monkeypatch.setattr(decoded_cache.logger, "warning", warning)
    return messages


def test_a_folder_that_can_not_be_made_is_told_once(tmp_path, warned):
    (tmp_path / "file").write_text("in the way")
    cache = DecodedCache(tmp_path / "file" / "cache")
    files = recording(tmp_path / "r")
    for _ in range(2):
        assert len(load(cache, files)) == 6
    assert len(warned) == 1
    assert "can't be written (" in warned[0]


def test_a_full_disk_is_told_once_and_what_is_there_is_read(
    cache, tmp_path, warned, decoded, monkeypatch
):
    known = recording(tmp_path / "known")
    load(cache, known)

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(decoded_cache, "atomic_write", full)
    new = recording(tmp_path / "new", pcm_wav([5, 6, 7]))
    for _ in range(2):
        assert (load(cache, new, uid="b") * 2**15).tolist() == [5, 6, 7]
    load(cache, known)
    assert len(decoded) == 3
    assert len(warned) == 1
    assert "No space left on device" in warned[0]


def test_a_new_folder_is_for_its_user_only(cache):
    assert cache.folder.stat().st_mode & 0o777 == 0o700


def read_often(folder, sources, queue):
    cache = DecodedCache(folder)
    for turn in range(20):
        for uid, source in enumerate(sources):
            if turn % 7 == 3:
                cache.forget([str(uid)])
            waveform = load(cache, loading.recording_files(source), uid=str(uid))
            queue.put((uid, (waveform * 2**15).tolist()))
    queue.put(None)


def test_several_processes_at_a_time(tmp_path):
    sources = [tmp_path / f"r{i}" for i in range(3)]
    for i, source in enumerate(sources):
        recording(source, pcm_wav([i, i + 1, 30000]))
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    arguments = (tmp_path / "cache", sources, queue)
    workers = [context.Process(target=read_often, args=arguments) for _ in range(3)]
    for worker in workers:
        worker.start()
    n_done = n_read = 0
    while n_done < len(workers):
        item = queue.get(timeout=60)
        if item is None:
            n_done += 1
            continue
        uid, samples = item
        assert samples == [uid, uid + 1, 30000]
        n_read += 1
    for worker in workers:
        worker.join()
    assert n_read == 3 * 20 * 3
    assert not list((tmp_path / "cache").rglob("*.tmp"))


# Forgetting


@pytest.mark.parametrize("uid", ["a", "../../x", "a/b", "ä" * 300, "nul\0", " ", "."])
def test_a_recording_is_forgotten_by_its_uid(cache, tmp_path, uid):
    files = recording(tmp_path / "r")
    load(cache, files, uid=uid)
    load(cache, files, uid=uid, sample_rate=4000)
    load(cache, files, uid="other")
    assert len(entries(cache)) == 3
    cache.forget([uid, "unknown"])
    assert len(entries(cache)) == 1
    assert files["waveform.wav"].exists()


def test_excluded_subjects_leave_it(corpus, tmp_path):
    """Those of the corpus's CSVs; it was filled before they withdrew."""
    folder = tmp_path / "cache"
    cache = decoded_cache.open_cache(folder)
    uids = sorted(path.name for path in (corpus / "audio").iterdir())
    for uid in uids:
        load(cache, loading.recording_files(corpus / "audio" / uid), uid=uid)
    assert len(entries(cache)) == len(uids)
    (corpus / "excluded_subjects.txt").write_text("s00\ns11\n")
    values = plain_values(
        "hparams/train.yaml",
        {
            "data_folder": str(corpus / "audio"),
            "split_folder": str(corpus / "splits"),
            "labels_file": str(corpus / "labels.txt"),
            "decoded_cache": str(folder),
        },
    )
    prepare.prepare_training(values)
    gone = [
        uid
        for uid in uids
        if not any(cache._entries(uid).glob("*"))  # no one else can tell
    ]
    assert gone == ["s00_0", "s00_1", "s11_0", "s11_1"]


def test_windows_of_a_long_recording_are_forgotten_with_it(cache, tmp_path):
    recording(tmp_path / "long", pcm_wav(np.arange(16000) % 1000))
    row = {"ID": "long", "recording": "long", "duration": 2.0}
    row |= dict.fromkeys(("start_s", "end_s", "channel"), "")
    windows = LongRecordings(1.0, 0.0).cut(pd.DataFrame([row]))
    settings = {"sample_rate": 8000, "audio_backend": "soundfile", "mono": "mean"}
    dataset = dataio.build_dataset(
        windows.manifest,
        [],
        FolderRecordings(tmp_path),
        settings | {"decoded_cache": str(cache.folder)},
        None,
    )
    assert [len(item["waveform"]) for item in dataset] == [8000, 8000]
    assert len(entries(cache)) == 2
    cache.forget(["long"])
    assert not entries(cache)


def test_a_bucket_is_no_cache():
    with pytest.raises(UserError, match="decoded_cache is gs://bucket/x"):
        decoded_cache.open_cache("gs://bucket/x")
    assert decoded_cache.open_cache(None) is None


# In training


@pytest.mark.unmeasured
def test_training_with_it_is_the_same_again(shared_experiment, shared_corpus, tmp_path):
    """16 bits at the model's rate: as without it, full as empty, with any workers."""
    caches = [
        ("empty", (f"--decoded_cache={tmp_path / 'cache'}", "--num_workers=2")),
        ("full", (f"--decoded_cache={tmp_path / 'cache'}",)),
    ]
    written = {"without": (shared_experiment / "predictions.csv").read_bytes()}
    for name, options in caches:
        succeeded(train(shared_corpus, tmp_path / name, *options))
        written[name] = (tmp_path / name / "predictions.csv").read_bytes()
    n_recordings = len(list((shared_corpus / "audio").iterdir()))
    assert len(list((tmp_path / "cache").rglob("*.pcm"))) == n_recordings
    assert written["without"] == written["empty"] == written["full"]
