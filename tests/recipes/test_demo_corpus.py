"""The demo corpus: each manipulation moves its own measure, as Praat measures it, and
leaves the others; the corpus is laid out as promised and repeats."""

import csv
import hashlib
import inspect
import json
from pathlib import Path

import av
import numpy as np
import parselmouth
import pytest
from parselmouth.praat import call
from running import run_script

from local.audio import loading
from local.evaluation.confound_audit import silence
from recipes.demo import channel as channels
from recipes.demo import manipulate, raters
from recipes.demo.cohort import LABELS, VOICES, draw_cohort, draw_severities
from recipes.demo.pauses import measure_pauses
from recipes.demo.record import perform
from recipes.demo.reference import ceiling_auroc
from recipes.demo.sentences import NAMES
from recipes.demo.synthesis import SAMPLE_RATE, find_pulses, speak_for

pytestmark = pytest.mark.unmeasured

PREPARE = Path(__file__).parents[2] / "recipes" / "demo" / "prepare.py"
SEVERE = 4.0


# --- what Praat measures ---------------------------------------------------------


def phonemes_per_second(samples, utterance):
    return len(utterance.phonemes) / (len(samples) / SAMPLE_RATE)


def s_centroid_hz(samples, utterance):
    """Mean spectral centre of gravity of the /s/ intervals."""
    sound = parselmouth.Sound(samples, SAMPLE_RATE)
    return np.mean(
        [
            sound.extract_part(p.start_s, p.end_s).to_spectrum().get_center_of_gravity()
            for p in utterance.phonemes
            if p.label == "s"
        ]
    )


def vowel_spread(samples, utterance):
    """Standard deviation of log F1 and log F2 over the middles of the vowels."""
    sound = parselmouth.Sound(samples, SAMPLE_RATE)
    formants = call(sound, "To Formant (burg)...", 0, 5, 5500, 0.025, 50)
    middles = [
        (p.start_s + p.end_s) / 2
        for p in utterance.phonemes
        if p.label[0] in manipulate.VOWEL_LETTERS
    ]
    hertz = [
        [call(formants, "Get value at time", i, t, "hertz", "Linear") for i in (1, 2)]
        for t in middles
    ]
    return np.nanstd(np.log(hertz), axis=0).mean()


def cpps_db(samples, _):
    """Smoothed cepstral peak prominence: how clearly the voice is periodic."""
    sound = parselmouth.Sound(samples, SAMPLE_RATE)
    cepstrogram = call(sound, "To PowerCepstrogram", 60, 0.01, 5000, 50)
    search = (0.02, 0.0005, 60, 330, 0.05, "Parabolic", 0.001, 0.05)
    return call(cepstrogram, "Get CPPS", "no", *search, "Straight", "Robust")


def unevenness(samples, _):
    """How unevenly the articulation moves: variation over 0.15 s windows of the
    change of Praat's MFCCs. A constant fault changes all windows alike."""
    sound = parselmouth.Sound(samples, SAMPLE_RATE)
    mfcc = call(sound, "To MFCC...", 12, 0.025, 0.005, 100, 100, 0).to_array()[1:]
    movement = np.linalg.norm(mfcc[:, 8:] - mfcc[:, :-8], axis=0)
    local = np.convolve(movement, np.full(30, 1 / 30), "valid")
    return local.std() / local.mean()


MEASURES = (phonemes_per_second, s_centroid_hz, vowel_spread, cpps_db, unevenness)


@pytest.fixture(scope="module")
def speakers():
    """Three speakers of different voices, with a normal utterance of each."""
    subjects = draw_cohort(30, np.random.default_rng(5))[:3]
    return [
        (subject, speak_for(subject, 3.0, 165.0, np.random.default_rng(index)))
        for index, subject in enumerate(subjects)
    ]


@pytest.fixture(scope="module")
def effect(speakers):
    """Mean ratio of each measure, severe over neutral, per manipulation."""

    def strained(_, utterance, rng):
        pulses = find_pulses(utterance.samples)
        pressed = manipulate.press_voice(utterance.samples, pulses, SEVERE, rng)
        return pressed, utterance

    def distortions(_, utterance, rng):
        return manipulate.distort(utterance, SEVERE, rng).samples, utterance

    def breakdowns(_, utterance, rng):
        return manipulate.break_down(utterance, SEVERE, rng)[0], utterance

    def slow(subject, _, rng):
        utterance = speak_for(subject, 3.0, 84.0, rng)
        return utterance.samples, utterance

    def rapid(subject, _, rng):
        utterance = speak_for(subject, 3.0, 320.0, rng)
        return utterance.samples, utterance

    ratios = {}
    for manipulation in (strained, distortions, breakdowns, slow, rapid):
        for index, (subject, neutral) in enumerate(speakers):
            rng = np.random.default_rng(index)
            samples, utterance = manipulation(subject, neutral, rng)
            for measure in MEASURES:
                # Phonemes are where they were only if the timing is unchanged.
                if manipulation is breakdowns and measure in MEASURES[1:3]:
                    continue
                ratio = measure(samples, utterance) / measure(neutral.samples, neutral)
                key = (manipulation.__name__, measure.__name__)
                ratios.setdefault(key, []).append(ratio)
    return {key: float(np.mean(values)) for key, values in ratios.items()}


def test_rate_moves_the_articulation_rate(effect):
    assert effect["slow", "phonemes_per_second"] < 0.65
    assert effect["rapid", "phonemes_per_second"] > 1.6


def test_distortions_lower_s_and_centralise_vowels(effect):
    assert effect["distortions", "s_centroid_hz"] < 0.65
    assert effect["distortions", "vowel_spread"] < 0.7


def test_strain_lowers_the_cepstral_peak(effect):
    assert effect["strained", "cpps_db"] < 0.75


def test_breakdowns_make_the_articulation_uneven(effect):
    assert effect["breakdowns", "unevenness"] > 1.4


@pytest.mark.parametrize(
    ("manipulation", "measure", "tolerance"),
    [
        ("strained", "phonemes_per_second", 0.001),
        ("strained", "s_centroid_hz", 0.05),
        ("strained", "vowel_spread", 0.25),
        ("strained", "unevenness", 0.15),
        ("distortions", "phonemes_per_second", 0.001),
        ("distortions", "cpps_db", 0.18),
        ("distortions", "unevenness", 0.2),
        ("breakdowns", "phonemes_per_second", 0.2),
        ("breakdowns", "cpps_db", 0.18),
        ("slow", "s_centroid_hz", 0.15),
        ("rapid", "s_centroid_hz", 0.15),
    ],
)
def test_manipulation_leaves_the_other_measures(
    effect, manipulation, measure, tolerance
):
    assert effect[manipulation, measure] == pytest.approx(1, abs=tolerance)


def test_distortions_fill_the_closures(speakers):
    """Measured as the softest 10 ms of each voiceless stop, in dB of the whole."""

    def closure_db(samples, utterance):
        softest = []
        for phoneme in utterance.phonemes:
            if phoneme.label in ("p", "t", "k"):
                start = round(max(phoneme.start_s - 0.02, 0) * SAMPLE_RATE)
                stop = samples[start : round(phoneme.end_s * SAMPLE_RATE)]
                frames = np.lib.stride_tricks.sliding_window_view(stop, 220)[::110]
                softest.append(np.std(frames, axis=1).min())
        return 20 * np.log10(np.median(softest) / np.std(samples))

    for _, utterance in speakers:
        rng = np.random.default_rng(0)
        distorted = manipulate.distort(utterance, SEVERE, rng).samples
        filled_db = closure_db(distorted, utterance)
        assert filled_db - closure_db(utterance.samples, utterance) > 15


def test_severity_0_changes_nothing(speakers):
    """What is done to affected speech is done to all: here with no effect."""
    _, utterance = speakers[0]
    original, rng = utterance.samples, np.random.default_rng(0)
    pulses = find_pulses(original)
    results = (
        manipulate.press_voice(original, pulses, 0.0, rng),
        manipulate.distort(utterance, 0.0, rng).samples,
        manipulate.break_down(utterance, 0.0, rng)[0],
        manipulate.insert_pauses(utterance, [], rng).samples,
    )
    for samples in results:
        np.testing.assert_allclose(samples, original, atol=1e-6)


def test_breakdowns_are_where_they_are_said_to_be(speakers):
    """Speech is as it was before, between and after the spans, and nowhere in them."""
    for seed, (_, utterance) in enumerate(speakers):
        rng = np.random.default_rng(seed)
        broken, spans = manipulate.break_down(utterance, SEVERE, rng)
        assert len(spans) > 1
        at, before = 0, utterance.samples
        for start_s, end_s in spans:
            start, end = (round(time_s * SAMPLE_RATE) for time_s in (start_s, end_s))
            same = broken[at:start]
            np.testing.assert_array_equal(same, before[: len(same)])
            # where the next piece of the input goes on
            rest = broken[end : end + 200]
            lags = np.lib.stride_tricks.sliding_window_view(before, len(rest))
            n = int(np.flatnonzero((lags == rest).all(axis=1))[0])
            assert 0.1 < (n - len(same)) / SAMPLE_RATE < 0.5
            at, before = end, before[n:]
        np.testing.assert_array_equal(broken[at:], before)


def test_unaffected_speech_passes_every_manipulation(speakers, monkeypatch):
    called = []
    for name in ("press_voice", "distort", "insert_pauses", "break_down"):
        real = getattr(manipulate, name)

        def spy(*arguments, name=name, real=real):
            called.append(name)
            return real(*arguments)

        monkeypatch.setattr(manipulate, name, spy)
    perform(speakers[0][0], dict.fromkeys(LABELS, 0.0), np.random.default_rng(0))
    assert called == ["press_voice", "distort", "insert_pauses", "break_down"]


def test_room_before_and_after_is_drawn_on_its_own(speakers):
    """The same seed gives the same ends, whatever happens to the speech."""
    subject, _ = speakers[0]

    def ends_s(severity, seed):
        severities = {**dict.fromkeys(LABELS, severity), "rapid rate": 0.0}
        samples, _, breakdowns = perform(
            subject, severities, np.random.default_rng(seed)
        )
        spoken_s = len(samples) / SAMPLE_RATE - 0.65
        assert all(0.65 <= s < e <= spoken_s for s, e in breakdowns)
        assert bool(breakdowns) == (severity == SEVERE)
        heard = np.flatnonzero(samples)
        return heard[0] / SAMPLE_RATE, (len(samples) - 1 - heard[-1]) / SAMPLE_RATE

    for seed in range(3):
        before_s, after_s = ends_s(0.0, seed)
        assert 0.65 <= before_s < 1.21 and 0.65 <= after_s < 1.21
        # the first and the last sample of speech may be nearly 0
        assert ends_s(SEVERE, seed) == pytest.approx((before_s, after_s), abs=0.005)


def test_pauses_add_their_length_and_are_measured(speakers):
    _, utterance = speakers[0]
    with_pauses = manipulate.insert_pauses(
        utterance, [0.4, 0.3], np.random.default_rng(0)
    )
    gained_s = (len(with_pauses.samples) - len(utterance.samples)) / SAMPLE_RATE
    assert gained_s == pytest.approx(0.7, abs=0.001)
    assert measure_pauses(with_pauses.samples, SAMPLE_RATE)["n_pauses"] == 2


# --- cohort, ratings, channel ------------------------------------------------------


def test_voices_and_sentences_are_not_shared_between_splits():
    voices = [set(v["female"] + v["male"]) for v in VOICES.values()]
    names = [set(split_names) for split_names in NAMES.values()]
    for parts in (voices, names):
        assert sum(map(len, parts)) == len(set.union(*parts))


def test_default_cohort_is_large_enough_and_slow_excludes_rapid():
    subjects = draw_cohort(104, np.random.default_rng(0))
    assert len({subject.name for subject in subjects}) == 104
    assert {subject.split for subject in subjects} == {"train", "val", "test"}
    for subject in subjects:
        for severity in draw_severities(subject, 8, 2, np.random.default_rng(1)):
            assert min(severity["slow rate"], severity["rapid rate"]) == 0
            assert all(0 <= severity[label] <= 4 for label in LABELS)


def test_raters_agree_on_clear_cases_and_doubt_between():
    rng = np.random.default_rng(0)
    panel = raters.draw_panel(rng)
    labels = {0.0: [], 2.0: [], 4.0: []}
    for severity, found in labels.items():
        for _ in range(300):
            row = raters.rate(dict.fromkeys(LABELS, severity), panel, rng)
            found += [row[label] for label in LABELS if row[label] != ""]
            for label in LABELS:
                votes = [row[f"{label}@rater{i}"] for i in (1, 2, 3)]
                assert row[label] == raters.majority(votes)
    assert np.mean(labels[0.0]) < 0.15
    assert 0.4 < np.mean(labels[2.0]) < 0.9
    assert np.mean(labels[4.0]) > 0.9
    share_unrated = 1 - len(labels[0.0]) / (300 * len(LABELS))
    assert 0.01 < share_unrated < 0.08


def test_ceiling_by_hand():
    # Of the 2 x 2 pairs, one (1.0 against 2.0) is the wrong way round.
    assert ceiling_auroc([0.0, 2.0, 1.0, 3.0, 9.0], [0, 0, 1, 1, ""]) == 0.75
    assert ceiling_auroc([0.0, 1.0], [0, ""]) is None


def test_the_channel_is_not_told_the_labels():
    """Site, device and channel are functions of a generator of their own."""
    assert list(inspect.signature(channels.draw_site).parameters) == ["rng"]
    assert list(inspect.signature(channels.draw_device).parameters) == ["rng"]
    assert list(inspect.signature(channels.draw_channel).parameters) == [
        "site",
        "device",
        "rng",
    ]


def test_sites_differ_in_noise_only():
    assert len({channels.draw_site(np.random.default_rng(i)) for i in range(30)}) == 3
    quiet, loud = (
        channels.draw_channel(site, "laptop", np.random.default_rng(0))
        for site in ("north", "west")
    )
    assert quiet.snr_db - loud.snr_db == pytest.approx(4)
    assert {**vars(quiet), "snr_db": loud.snr_db} == vars(loud)


def test_channels_have_every_encoding_and_rate():
    rng = np.random.default_rng(0)
    drawn = [
        channels.draw_channel("south", channels.draw_device(rng), rng)
        for _ in range(400)
    ]
    assert {c.encoding for c in drawn} == {"WAV", "FLAC", "MP3", "M4A"}
    rates = {c.sample_rate_hz for c in drawn}
    assert rates == {8000, 16000, 22050, 44100, 48000}
    assert {c.n_channels for c in drawn} == {1, 2}
    assert np.mean([c.sample_rate_hz == 8000 for c in drawn]) < 0.1


def test_apply_channel_sets_noise_and_level():
    channel = channels.Channel("WAV", 16000, 1, "PCM_16", 20.0, -30.0, 0.0, 0.0)
    tone = np.sin(2 * np.pi * 500 * np.arange(SAMPLE_RATE) / SAMPLE_RATE)
    silence = np.zeros(SAMPLE_RATE)
    recording = channels.apply_channel(
        np.concatenate([tone, silence]), channel, np.random.default_rng(0)
    )
    assert recording.shape == (32000, 1)
    level_db = 20 * np.log10(np.std(recording[2000:14000]))
    noise_db = 20 * np.log10(np.std(recording[18000:30000]))
    assert level_db == pytest.approx(-30, abs=0.5)
    assert noise_db == pytest.approx(-50, abs=0.5)


def test_level_does_not_tell_a_creaky_voice():
    """Pulses and a tone of the same energy between them come out equally loud."""
    channel = channels.Channel("WAV", SAMPLE_RATE, 1, "PCM_16", 100.0, -30.0, 0.0, 0.0)
    time_s = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    tone = np.sin(2 * np.pi * 500 * time_s)
    pulses = tone * (np.sin(2 * np.pi * 40 * time_s) > 0.8)
    for samples in (tone, pulses):
        room = np.pad(samples, SAMPLE_RATE)
        recording = channels.apply_channel(room, channel, np.random.default_rng(0))
        spoken = recording[SAMPLE_RATE : 2 * SAMPLE_RATE]
        assert 20 * np.log10(np.std(spoken)) == pytest.approx(-30, abs=0.1)


def test_confound_ties_only_the_noise_to_the_severity():
    rng = np.random.default_rng(0)
    plain = [channels.draw_channel("south", "laptop", rng) for _ in range(50)]
    noisy = [channels.tie_noise(c, 3.0) for c in plain]
    clean = [channels.tie_noise(c, 1.0) for c in plain]
    assert max(c.snr_db for c in noisy) < min(c.snr_db for c in clean)
    for before, after in zip(plain, noisy, strict=True):
        assert {**vars(before), "snr_db": after.snr_db} == vars(after)


# --- the command ---------------------------------------------------------------------


def run_prepare(folder, *options):
    return run_script(PREPARE, f"--corpus_folder={folder}", *options)


SIX = ("--n_subjects=6", "--n_recordings=1", "--seed=3")


@pytest.fixture(scope="module")
def corpora(tmp_path_factory):
    """The same small corpus twice, and its confounded twin."""
    root = tmp_path_factory.mktemp("demo")
    results = {
        "first": run_prepare(root / "first", *SIX, "--n_jobs=1"),
        "second": run_prepare(root / "second", *SIX, "--n_jobs=2"),
        "twin": run_prepare(root / "twin", *SIX, "--confound=noise:strained"),
    }
    for result in results.values():
        assert result.returncode == 0, result.stderr
    return root, results


def read_rows(corpus):
    rows = []
    for split in ("train", "val", "test"):
        with (corpus / "splits" / f"{split}.csv").open(encoding="utf-8") as file:
            rows += [{**row, "split": split} for row in csv.DictReader(file)]
    return rows


def test_recordings_have_silence_for_the_audit(corpora):
    """1.0 s of room noise, 15 dB below the voice and 0.2 s from speech."""
    found = []
    for path in waveforms(corpora[0] / "first").values():
        files = loading.recording_files(path.parent)
        waveform = loading.load_recording(
            files, loading.read_metadata(files), loading.AudioFormat()
        )
        speech = silence.find_speech(waveform, 16000)
        found.append(silence.find_silence(waveform, 16000, speech))
    assert sum(f is not None for f in found) >= 4  # of 6: some rooms are loud


def decode(path):
    """Samples as FFmpeg decodes them, hashed."""
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray() for frame in container.decode(audio=0)]
    return hashlib.sha256(b"".join(frame.tobytes() for frame in frames)).hexdigest()


def waveforms(corpus):
    return {p.parent.name: p for p in sorted(corpus.glob("audio/*/waveform.*"))}


def test_layout_follows_the_contract(corpora):
    corpus = corpora[0] / "first"
    rows = read_rows(corpus)
    assert len(rows) == 6
    assert (corpus / "labels.txt").read_text("utf-8").splitlines() == [
        "slow rate,irregular artic breakdowns",
        "rapid rate,distortions,strained",
    ]
    for row in rows:
        folder = corpus / "audio" / row["uid"]
        metadata = json.loads((folder / "metadata.json").read_text("utf-8"))
        assert (folder / f"waveform.{metadata['encoding'].lower()}").is_file()
        with av.open(str(next(folder.glob("waveform.*")))) as container:
            stream = container.streams.audio[0]
            assert stream.rate == metadata["sample_rate_hz"]
            assert stream.channels == metadata["channels"]
        for label in LABELS:
            assert row[label] in ("0", "1", "")
            assert all(row[f"{label}@rater{i}"] in ("0", "1", "") for i in (1, 2, 3))
        columns = {"subject", "sex", "age", "site", "device", "session"}
        assert columns <= row.keys()
    splits = {}
    for row in rows:
        splits.setdefault(row["subject"], set()).add(row["split"])
    assert all(len(names) == 1 for names in splits.values())
    reference = json.loads((corpus / "ceiling.json").read_text("utf-8"))
    assert set(reference) == {"labels", "macro"}
    with (corpus / "breakdowns.csv").open(encoding="utf-8") as file:
        assert {row["uid"] for row in csv.DictReader(file)} <= {r["uid"] for r in rows}
    assert set(reference["labels"]) == set(LABELS)
    assert set(reference["macro"]) == {"ceiling", "baseline"}


def test_same_seed_gives_the_same_decoded_audio_and_tables(corpora):
    first, second = (corpora[0] / name for name in ("first", "second"))
    assert read_rows(first) == read_rows(second)
    hashes = [
        {uid: decode(path) for uid, path in waveforms(corpus).items()}
        for corpus in (first, second)
    ]
    assert len(hashes[0]) == 6
    assert hashes[0] == hashes[1]


def test_confounded_twin_differs_in_noise_only(corpora):
    first, twin = (corpora[0] / name for name in ("first", "twin"))
    assert read_rows(first) == read_rows(twin)
    assert [p.name for p in waveforms(first).values()] == [
        p.name for p in waveforms(twin).values()
    ]
    hashes = [
        [decode(path) for path in waveforms(corpus).values()]
        for corpus in (first, twin)
    ]
    assert all(plain != noisy for plain, noisy in zip(*hashes, strict=True))


def test_prints_the_reference_and_that_it_is_not_clinical(corpora):
    printed = corpora[1]["first"].stdout
    assert all(label in printed for label in (*LABELS, "macro", "ceiling"))
    assert "says nothing about patients" in printed


def test_a_complete_corpus_is_left_alone(corpora):
    corpus = corpora[0] / "first"
    before = {p: p.stat().st_mtime_ns for p in corpus.rglob("*")}
    result = run_prepare(corpus, *SIX)
    assert result.returncode == 0
    assert "nothing to do" in result.stdout
    assert {p: p.stat().st_mtime_ns for p in corpus.rglob("*")} == before


def test_other_settings_are_refused_and_nothing_is_overwritten(corpora):
    corpus = corpora[0] / "first"
    before = {p: p.stat().st_mtime_ns for p in corpus.rglob("*")}
    result = run_prepare(corpus, *SIX, "--seed=4")
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    assert str(corpus) in result.stderr
    assert {p: p.stat().st_mtime_ns for p in corpus.rglob("*")} == before


def test_a_folder_with_something_else_is_refused(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine", encoding="utf-8")
    result = run_prepare(tmp_path, *SIX)
    assert result.returncode == 2
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(
    "option", ["--confound=noise:age", "--confound=level:strained", "--n_subjects=2"]
)
def test_wrong_options_are_explained(tmp_path, option):
    result = run_prepare(tmp_path / "corpus", option)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    assert option.partition("=")[2] in result.stderr
    assert not (tmp_path / "corpus").exists()
