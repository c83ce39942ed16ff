"""The audit: what is measured, what is tested, and what is said of it."""

import hashlib
import json

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.signal import butter, sosfilt
from scipy.stats import norm, spearmanr
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from local.data.folds import draw_folds
from local.data.split import Split
from local.evaluation.confound_audit import (
    audit_labels,
    capture,
    leakage,
    power,
    probes,
    silence,
    summary,
    verdict,
)
from local.utils.ranking import plain_auroc
from tests.audio_files import speech

RATE = 16000
ROW = {
    "level_dbfs": -20.0,
    "sample_rate": 44100.0,
    "format": "WAV",
    "codec": "PCM_16",
    "channels": 2.0,
}


@pytest.fixture(scope="module")
def spoken():
    return speech("My sister picked up a bag of sand in the park", RATE)


def in_noise(spoken, before_s=1.0, after_s=1.0, noise=0.001):
    """Speech with noise around and in it, float32 [time]."""
    padded = np.pad(spoken, (round(before_s * RATE), round(after_s * RATE)))
    generator = np.random.default_rng(1)
    padded = padded + generator.normal(0, noise, len(padded))
    return torch.from_numpy(padded.astype(np.float32))


# What a recording is like


def test_noise_floor_is_that_of_the_quietest_moments(spoken):
    samples = in_noise(spoken).numpy()
    # 0.001 is 60 dB below full scale; frames of 400 samples scatter by 0.3 dB
    assert capture.noise_floor_dbfs(samples, RATE) == pytest.approx(-60, abs=1)
    samples[:RATE] = 0
    assert capture.noise_floor_dbfs(samples, RATE) == -100


def vowel(level_dbfs=-10.0, wobble_db=4.0):
    """A sustained vowel of 4 s whose loudness wobbles, float32 [time]."""
    time_s = np.arange(4 * RATE) / RATE
    gain_db = level_dbfs + wobble_db / 2 * np.sin(2 * np.pi * 0.9 * time_s)
    voice = np.sqrt(2) * np.sin(2 * np.pi * 150 * time_s) * 10 ** (gain_db / 20)
    return torch.from_numpy(voice.astype(np.float32))


def test_a_sustained_vowel_has_no_noise_floor_and_no_silence():
    waveform = vowel()
    assert capture.noise_floor_dbfs(waveform.numpy(), RATE) is None
    # a detector that takes most of the vowel for silence
    heard = [(0.0, 0.5)]
    assert silence.find_silence(waveform, RATE, heard) is None
    # the same vowel between pauses 14 and 16 dB below its loudest frames, -8 dBFS
    for below_db, known in ((14, False), (16, True)):
        noise = torch.full((RATE,), 10 ** ((-8 - below_db) / 20))
        padded = torch.cat([noise, waveform, noise])
        floor = capture.noise_floor_dbfs(padded.numpy(), RATE)
        assert (floor is not None) == known
        result = silence.find_silence(padded, RATE, [(1.0, 5.0)])
        assert (result is not None) == known


@pytest.mark.parametrize("cut_hz", [2000, 3400])
def test_bandwidth_ends_with_the_microphone_whatever_is_said(spoken, cut_hz):
    sos = butter(20, cut_hz, output="sos", fs=RATE)
    noise = np.random.default_rng(0).normal(0, 0.001, len(spoken))
    for samples in (spoken + noise, noise, 10 * noise):
        found = capture.bandwidth_hz(sosfilt(sos, samples), RATE)
        assert cut_hz <= found < 1.6 * cut_hz
        assert capture.bandwidth_hz(samples, RATE) == RATE / 2


def test_hash_is_of_sixteen_bits():
    expected = hashlib.sha256(bytes([0, 0, 255, 127, 1, 128])).hexdigest()
    samples = np.array([0.4 / 32767, 1.0, -1.0], dtype=np.float32)
    assert capture.audio_hash(samples) == expected
    assert capture.audio_hash(samples * [1, 1.5, 9]) == expected  # clipped
    assert capture.audio_hash(samples[:2]) != expected


def test_speech_is_found_without_a_network_and_threads_stay(spoken, monkeypatch):
    def refuse(*_args, **_kwargs):
        raise AssertionError("the audit asked for a network")

    monkeypatch.setattr("socket.socket.connect", refuse)
    silence._detector.cache_clear()
    n_threads = torch.get_num_threads()
    torch.set_num_threads(n_threads + 1)
    silence._detector()
    assert torch.get_num_threads() == n_threads + 1
    torch.set_num_threads(n_threads)
    found = silence.find_speech(in_noise(spoken, before_s=1.5), RATE)
    end_s = 1.5 + len(spoken) / RATE
    assert found[0][0] == pytest.approx(1.5, abs=0.15)
    assert found[-1][1] == pytest.approx(end_s, abs=0.25)
    assert silence.find_speech(in_noise(np.zeros(RATE)), RATE) == []


def test_speech_is_found_at_other_rates(spoken):
    waveform = in_noise(spoken)
    expected = silence.find_speech(waveform, RATE)
    upsampled = silence.resample(waveform, RATE, 44100)
    found = silence.find_speech(upsampled, 44100)
    assert np.ravel(found) == pytest.approx(np.ravel(expected), abs=0.05)


def numbered(n, speech=()):
    """Samples that tell their place, [n] at 1 kHz, a million times that in speech."""
    samples = torch.arange(1, n + 1, dtype=torch.float32)
    for begin_s, end_s in speech:
        samples[round(1000 * begin_s) : round(1000 * end_s)] *= 1e6
    return samples


def silence_of(n, speech):
    return silence.find_silence(numbered(n, speech), 1000, speech)


def test_silence_is_one_second_200_ms_from_speech():
    # 3 s at 1 kHz, speech from 1.5 to 2.0 s: silent are 0 to 1.3 and 2.2 to 3.0
    found = silence_of(3000, [(1.5, 2.0)])
    assert torch.equal(found, numbered(1000))
    # speech from 0.9 to 1.9: 0 to 0.7 and 2.1 to 3.0, the longer one first
    found = silence_of(3000, [(0.9, 1.9)])
    assert len(found) == 1000
    assert torch.equal(found[:890], torch.arange(2101.0, 2991.0))
    # 10 samples of seam, at equal power; then the shorter one's eleventh
    assert found[890] == 2991 and found[899] == pytest.approx(10, abs=0.01)
    assert torch.equal(found[900:], torch.arange(11.0, 111.0))


def test_too_little_silence_is_none():
    speech = [(1.0, 2.0)]
    # 0.8 s before, 0.2 s and one seam of 10 ms after
    assert silence_of(2410, speech) is not None
    assert silence_of(2409, speech) is None
    # stretches below 0.1 s do not count
    crumbs = [(t + 0.25, t + 0.30) for t in np.arange(0, 20, 0.49)]
    assert silence_of(20000, crumbs) is None
    # nearly no speech: the detector may have missed it
    spoken = numbered(5000, speech)
    assert silence.find_silence(spoken, 1000, []) is None
    assert silence.find_silence(spoken, 1000, [(1.0, 1.2)]) is None


def test_digital_zeros_are_no_silence():
    waveform = numbered(5000, [(4.0, 5.0)])
    waveform[500:1700] = 0
    waveform[300:309] = 0  # fewer than 10 ms: a sample may be 0
    found = silence.find_silence(waveform, 1000, [(4.0, 5.0)])
    # 1.7 to 3.8 s is the longest stretch
    assert torch.equal(found, torch.arange(1701.0, 2701.0))
    waveform[1700:3500] = 0
    # 0 to 0.5 (with its nine zeros) and 3.5 to 3.8 s are not enough
    assert silence.find_silence(waveform, 1000, [(4.0, 5.0)]) is None


def test_silence_features_follow_level_alone():
    noise = torch.randn(RATE, generator=torch.Generator().manual_seed(0)) * 0.01
    quiet, loud = (silence.silence_features(noise * k, RATE) for k in (1, 10))
    assert len(quiet) == 40
    for name, value in quiet.items():
        gain_db = 20 if "mean" in name else 0
        assert loud[name] - value == pytest.approx(gain_db, abs=1e-3)
    assert set(silence.silence_features(None, RATE).values()) == {None}
    assert list(silence.silence_features(None, RATE)) == list(quiet)


def test_extract_gives_one_flat_row(spoken):
    waveform = in_noise(spoken, 1.5, 1.5)
    features, found = capture.extract(waveform, RATE, ROW)
    assert found.shape == (RATE,)
    assert found.std() == pytest.approx(0.001, rel=0.05)  # noise, nothing spoken
    assert features["capture_sample_rate"] == "44100"
    assert features["capture_format"] == "WAV PCM_16"
    assert features["capture_channels"] == "2"
    assert features["behaviour_duration_s"] == len(waveform) / RATE
    assert 0 <= features["behaviour_pause_share"] < 0.3
    json.dumps(features, allow_nan=False)
    without, found = capture.extract(in_noise(np.zeros(RATE)), RATE, ROW)
    assert found is None and without["behaviour_pause_share"] is None
    assert list(without) == list(features)


# How well features tell a label


def test_scores_are_those_of_a_regression_on_the_other_folds():
    generator = np.random.default_rng(0)
    features = generator.normal(size=(60, 5)) * [1, 2, 3, 0.1, 1]
    targets = (features[:, 1] + generator.normal(size=60) > 1).astype(int)
    folds = np.arange(60) % 2
    scores = probes.out_of_fold_scores(features, targets, folds)
    # of fold 0, by the normal equations: without a penalty on the intercept
    centre, share = features[::2].mean(axis=0), targets[::2].mean()
    centred = features[::2] - centre
    weights = np.linalg.solve(
        centred.T @ centred + 40 * np.eye(5), centred.T @ (targets[::2] - share)
    )
    expected = share + (features[1::2] - centre) @ weights
    assert scores[1::2] == pytest.approx(expected)
    # recordings are ranked as by a logistic regression
    logistic = LogisticRegression(C=0.1).fit(features[::2], targets[::2])
    logits = logistic.decision_function(features[1::2])
    assert spearmanr(scores[1::2], logits).statistic > 0.98
    # what does not vary in the other fold has no weight there
    halves = np.column_stack([features, folds])
    assert probes.out_of_fold_scores(halves, targets, folds) == pytest.approx(scores)
    assert not probes.out_of_fold_scores(halves[:, 5:], targets, folds).any()
    assert not probes.out_of_fold_scores(halves[:, :0], targets, folds).any()


def test_a_probe_can_be_fitted_to_what_separates_the_classes():
    """Where Newton's method without a line search ended in a singular matrix."""
    generator = np.random.default_rng(0)
    targets, folds = np.arange(42) % 20 < 2, np.arange(42) % 2
    features = np.column_stack([30 * targets, generator.normal(size=(42, 40)) * 9])
    scores = probes.out_of_fold_scores(features, targets, folds)
    assert np.isfinite(scores).all()
    assert probes.fold_auroc(targets, scores, folds) == 1


def test_recordings_of_one_format_are_audited(monkeypatch):
    """52 recordings whose columns are all the same but one, or all of them."""
    manifest, features = cohort(n_subjects=13, n_each=4)
    monkeypatch.setattr(verdict, "MIN_PERMUTATIONS", 99)
    same = features.assign(capture_a=-20.0, capture_b=8000.0, capture_format="WAV")
    same[[name for name in same if name.startswith("silence")]] = np.nan
    result = audit_labels(manifest, same, ["x"])["x"]
    assert result["capture_probe_auroc"]["value"] == 0.5
    result = audit_labels(manifest, same.assign(capture_a=manifest["x"]), ["x"])["x"]
    assert result["capture_probe_auroc"]["value"] == 1.0


def test_rare_categories_are_one():
    kinds = pd.Series(["a"] * 6 + ["b", "c"] + ["d"] * 5)
    design = probes.design_matrix(pd.DataFrame({"kind": kinds}))
    assert design.sum(axis=0).tolist() == [6, 5, 2]  # a, d, other


def test_rounding_is_no_difference():
    table = pd.DataFrame({"x": [-20.0, np.nextafter(-20, 0)] * 5, "y": np.zeros(10)})
    assert probes.design_matrix(table).shape == (10, 0)
    table["y"] = np.arange(10) * 1e-12  # small, and all there is
    assert probes.design_matrix(table).shape == (10, 1)


def test_folds_keep_subjects_whole():
    generator = np.random.default_rng(0)
    subjects = np.array([f"s{i // 4}" for i in range(80)], dtype=object)
    targets = generator.integers(0, 2, 80)
    folds = draw_folds(targets, subjects, 0)
    assert set(folds) == set(range(5))
    assert all(len(set(folds[subjects == s])) == 1 for s in subjects)
    few = (np.arange(80) < 8).astype(int)  # two positive subjects
    assert set(draw_folds(few, subjects, 0)) == {0, 1}
    assert draw_folds((np.arange(80) < 4).astype(int), subjects, 0) is None


def test_offsets_of_folds_change_nothing():
    generator = np.random.default_rng(0)
    targets, folds = generator.integers(0, 2, 40), np.arange(40) % 4
    scores = generator.normal(size=40)
    value = probes.fold_auroc(targets, scores, folds)
    expected = [roc_auc_score(targets[f::4], scores[f::4]) for f in range(4)]
    assert value == pytest.approx(np.mean(expected))
    assert probes.fold_auroc(targets, scores + 9.0 * folds, folds) == value


def test_scores_are_out_of_fold():
    # the feature is the label in fold 0 and its opposite in fold 1
    targets, folds = np.array([0, 1, 0, 1]), np.array([0, 0, 1, 1])
    features = np.array([[0.0], [1.0], [1.0], [0.0]])
    scores = probes.out_of_fold_scores(features, targets, folds)
    assert probes.fold_auroc(targets, scores, folds) == 0.0


def test_auroc_within_weighs_pairs():
    targets = np.array([0, 1, 1, 0, 1])
    scores = np.array([1.0, 2.0, 3.0, 9.0, 8.0])
    # a: both of two pairs in order; b: not the one
    assert probes.auroc_within(targets, scores, np.array(list("aaabb"))) == 2 / 3
    assert probes.auroc_within(targets, scores, np.array(list("abcde"))) is None


def test_permutations_are_of_whole_subjects():
    rows_of = [np.array([0, 3]), np.array([1, 4]), np.array([2, 5])]
    seen = set()
    generator = np.random.default_rng(0)
    for _ in range(100):
        drawn = probes.permute_subjects(rows_of, generator)
        assert (drawn[3:] == drawn[:3] + 3).all()  # second recordings stay second
        seen.add(tuple(drawn[:3]))
    assert len(seen) == 6


def test_p_is_that_of_all_arrangements():
    subjects = np.repeat(np.array(list("abcdef"), dtype=object), 2)
    targets = np.repeat([0, 0, 0, 1, 1, 1], 2)
    scores = np.repeat([1.0, 2, 3, 4, 5, 6], 2)
    # 2 of the 20 ways to choose three subjects of six are as extreme
    p = probes.permutation_p(
        lambda rows: roc_auc_score(targets, scores[rows]),
        subjects,
        4000,
        0,
        two_sided=True,
    )
    assert p == pytest.approx(0.1, abs=0.04)  # it stops at 20 draws as extreme
    # one of 20 is as high, and all are as high as the opposite
    for sign, expected in ((1, 0.05), (-1, 1.0)):
        p = probes.permutation_p(
            lambda rows, s=sign: plain_auroc(targets, s * scores[rows]),
            subjects,
            4000,
            0,
        )
        assert p == pytest.approx(expected, abs=0.02)
    assert probes.count_arrangements(targets, subjects) == 20


def test_p_never_is_zero():
    subjects = np.array([f"s{i}" for i in range(40)], dtype=object)
    targets = np.arange(40) % 2
    p = probes.permutation_p(
        lambda rows: roc_auc_score(targets, targets[rows]), subjects, 99, 0
    )
    assert p == 1 / 100


def test_p_counts_subjects_not_recordings():
    """Labels and scores of subjects, without any tie between them: p is uniform."""
    small = 0
    for seed in range(100):
        generator = np.random.default_rng(seed)
        sizes = generator.integers(3, 12, 16)
        subjects = np.repeat(np.array([f"s{i:02d}" for i in range(16)]), sizes)
        targets = np.repeat(generator.permutation(16) % 2, sizes)
        scores = np.repeat(generator.normal(size=16), sizes)
        scores = scores + 0.3 * generator.normal(size=len(scores))
        p = probes.permutation_p(
            lambda rows, t=targets, s=scores: plain_auroc(t, s[rows]),
            subjects,
            99,
            seed,
        )
        small += p <= 0.1
    assert 3 <= small <= 18  # 10 are expected; with recordings permuted it is 59


# What is said of it


def cohort(n_subjects=24, n_each=6, seed=0):
    """A manifest of subjects who have a label or not, and features of no meaning."""
    generator = np.random.default_rng(seed)
    n = n_subjects * n_each
    affected = generator.permutation(n_subjects) % 2
    manifest = pd.DataFrame(
        {
            "ID": [f"r{i}" for i in range(n)],
            "subject": np.repeat([f"s{i:02d}" for i in range(n_subjects)], n_each),
            "device": np.repeat(generator.choice(["a", "b"], n_subjects), n_each),
            "x": np.repeat(affected, n_each).astype(float),
        }
    )
    numbers = ["capture_a", "capture_b", "silence_a", "silence_b", "behaviour_a"]
    features = pd.DataFrame(generator.normal(size=(n, 5)), columns=numbers)
    features["capture_format"] = generator.choice(["WAV", "MP3"], n)
    features["audio_sha256"] = manifest["ID"]
    return manifest, features


def test_nothing_planted_is_clear():
    manifest, features = cohort(n_subjects=60)
    found = audit_labels(manifest, features, ["x"])["x"]
    assert found["status"] == "clear"
    assert found["capture_probe_auroc"]["status"] == "clear"
    assert found["silence_auroc"]["status"] == "not_computable"
    assert found["capture_probe_auroc"]["p"] is None
    assert set(found["capture_probe_auroc"]["within"]) == {"device"}
    assert found["reasons"][0].startswith("Nothing found by AUROC: capture probe 0.")
    assert found["reasons"][1].startswith(
        "With 60 people (30 with the label) a microphone that tells the label with "
        "AUROC 0.85 would be found in nearly every such study."
    )
    assert found["reasons"][2:] == [
        "Not examined: model on silence (no outputs of a trained model were given)."
    ]
    assert found["power"]["0.75"] < 0.8 < 0.95 < found["power"]["0.85"]
    assert found["power"]["0.95"] > 0.99
    json.dumps(found, allow_nan=False)


def test_nothing_found_among_few_is_not_clear():
    manifest, features = cohort(n_subjects=20)
    found = audit_labels(manifest, features, ["x"])["x"]
    statuses = {
        found[f"{kind}_probe_auroc"]["status"] for kind in ("capture", "silence")
    }
    assert statuses == {"clear"}
    assert found["power"]["0.85"] < 0.5 and found["status"] == "inconclusive"
    assert "With 20 people (10 with the label)" in found["reasons"][1]
    assert "would be found in only about" in found["reasons"][1]


def test_five_labels_without_findings_are_one_sentence():
    manifest, features = cohort(n_subjects=100, n_each=2)
    names = list("abcde")
    generator = np.random.default_rng(0)
    for name in names:
        manifest[name] = np.repeat(generator.permutation(100) % 2, 2)
    labels = audit_labels(manifest, features, names)
    assert {entry["status"] for entry in labels.values()} == {"clear"}
    assert summary(labels) == (
        "Nothing found for 5 of 5 labels; a microphone that tells a label with AUROC "
        "0.85 would be found in nearly every such study."
    )
    labels["c"] |= {"status": "flagged"}
    assert summary(labels).startswith("Flagged: c. Nothing found for 4 of 5 labels;")


def test_vowels_have_no_silence_and_it_is_said_once():
    manifest, features = cohort(n_subjects=100, n_each=2)
    manifest["y"] = 1 - manifest["x"]
    silent = np.arange(200) < 10
    features.loc[~silent, ["silence_a", "silence_b"]] = np.nan
    features["capture_noise_floor_dbfs"] = np.where(np.arange(200) < 30, -50.0, np.nan)
    logits = np.where(silent[:, None], 0.0, np.nan).repeat(2, axis=1)
    labels = audit_labels(manifest, features, ["x", "y"], silence_logits=logits)
    why = "170 of 200 recordings have no pause 15 dB below the voice"
    for entry in labels.values():
        for kind in ("silence_probe_auroc", "silence_auroc"):
            assert entry[kind]["status"] == "not_applicable"
            assert entry[kind]["reason"] == f"{why} (sustained vowels?)"
        assert entry["capture_probe_auroc"]["n"] == 200  # without the noise floor
        assert why not in " ".join(entry["reasons"])
    assert summary(labels).count(why) == 1


def test_an_auroc_below_one_half_flags_a_model_and_no_probe(monkeypatch):
    manifest, features = cohort()
    logits = -4 * manifest[["x"]].to_numpy() + features[["silence_b"]].to_numpy()
    monkeypatch.setattr(
        probes, "out_of_fold_scores", lambda design, targets, folds: -design[:, 0]
    )
    features[["capture_a", "silence_a"]] = manifest[["x", "x"]].to_numpy()
    found = audit_labels(manifest, features, ["x"], silence_logits=logits)["x"]
    for kind in ("capture", "silence"):
        measure = found[f"{kind}_probe_auroc"]
        assert measure["value"] == 0 and measure["status"] == "clear"
    assert found["silence_auroc"]["value"] < 0.1
    assert found["silence_auroc"]["status"] == found["status"] == "flagged"


def test_logits_of_two_networks_are_not_compared():
    manifest, features = cohort()
    networks = np.where(np.arange(len(manifest)) // 6 % 2 == 0, "fold 1", "fold 2")
    logits = features[["silence_b"]].to_numpy() + 2 * manifest[["x"]].to_numpy()
    shifted = logits + np.where(networks == "fold 1", 50, 0)[:, None]
    given = {"silence_logits": shifted, "logits": shifted, "networks": networks}
    found = audit_labels(manifest, features, ["x"], **given)["x"]
    expected = [
        roc_auc_score(manifest["x"][inside], logits[inside, 0])
        for inside in (networks == "fold 1", networks == "fold 2")
    ]
    for kind in ("silence_auroc", "auroc"):
        assert found[kind]["value"] == pytest.approx(np.mean(expected))
        assert found[kind]["low"] < found[kind]["value"] < found[kind]["high"]
    assert found["silence_auroc"]["status"] == "flagged"
    given["networks"] = None
    pooled = audit_labels(manifest, features, ["x"], **given)["x"]["auroc"]
    assert pooled["value"] < 0.8 < np.mean(expected)


@pytest.mark.parametrize("probe", ["capture", "silence", "behaviour"])
def test_what_is_planted_is_flagged_but_behaviour(probe):
    manifest, features = cohort()
    features[f"{probe}_a"] += 3 * manifest["x"]
    found = audit_labels(manifest, features, ["x"])["x"]
    measure = found[f"{probe}_probe_auroc"]
    assert measure["value"] > 0.9
    if probe == "behaviour":
        assert found["status"] != "flagged" and measure["status"] is None
    else:
        assert found["status"] == measure["status"] == "flagged"
        # two tests of one label: 399 draws, none as extreme
        assert measure["p"] == 1 / 400 and measure["p_holm"] == 2 / 400
        assert any("p = 0.005" in reason for reason in found["reasons"])


def test_the_model_on_silence_is_flagged_without_a_probe():
    manifest, features = cohort()
    logits = 4 * manifest[["x"]].to_numpy() + features[["silence_b"]].to_numpy()
    logits[:6] = np.nan  # one subject without silence
    found = audit_labels(manifest, features, ["x"], silence_logits=logits)["x"]
    measure = found["silence_auroc"]
    assert found["status"] == measure["status"] == "flagged"
    assert measure["n"] == len(manifest) - 6 and measure["n_subjects"] == 23
    expected = roc_auc_score(manifest["x"][6:], logits[6:, 0])
    assert measure["value"] == pytest.approx(expected)
    assert measure["low"] < expected < measure["high"] and measure["reason"] is None


def test_auroc_within_devices_stands_beside_the_whole():
    manifest, features = cohort()
    manifest["device"] = np.where(manifest["x"] == 1, "a", "b")
    manifest.loc[:5, "device"] = "a"
    manifest.loc[6:11, "device"] = "b"
    logits = (manifest[["device"]] == "a").to_numpy(dtype=float)
    found = audit_labels(manifest, features, ["x"], logits=logits)["x"]["auroc"]
    assert found["value"] > 0.8
    assert found["within"] == {"device": 0.5}  # all logits of a device are the same


def test_few_subjects_are_too_few_to_test():
    # 2 of 4 subjects: 6 arrangements
    manifest, features = cohort(n_subjects=4, n_each=8)
    found = audit_labels(manifest, features, ["x"])["x"]
    features["capture_a"] += 9 * manifest["x"]
    found = audit_labels(manifest, features, ["x"])["x"]
    assert found["capture_probe_auroc"]["value"] > 0.9
    assert found["capture_probe_auroc"]["p"] is None
    assert found["capture_probe_auroc"]["status"] == found["status"] == "inconclusive"
    few = "4 people (2 with the label) are too few to test for chance (AUROC: capture"
    assert found["reasons"][0].startswith(few)
    assert found["power"] == {"0.75": 0, "0.85": 0, "0.95": 0}
    assert "found in hardly any such study" in found["reasons"][1]


def measure_of(value, testable=True, p_holm=None):
    return {"value": value, "testable": testable, "p_holm": p_holm}


PROBE, MODEL = "capture_probe_auroc", "silence_auroc"


@pytest.mark.parametrize(
    ("kind", "measure", "status"),
    [
        (PROBE, measure_of(0.64), "clear"),
        (PROBE, measure_of(0.05), "clear"),
        (MODEL, measure_of(0.36 + 1e-9), "clear"),
        (PROBE, measure_of(0.66, p_holm=0.04), "flagged"),
        (MODEL, measure_of(0.34, p_holm=0.04), "flagged"),
        (PROBE, measure_of(0.90, p_holm=0.05), "inconclusive"),
        (PROBE, measure_of(0.55, testable=False), "inconclusive"),
        (PROBE, measure_of(0.99, testable=False), "inconclusive"),
        (MODEL, measure_of(0.01, testable=False), "inconclusive"),
    ],
)
def test_rule_of_the_flag(kind, measure, status):
    assert verdict._status(kind, measure) == status


def test_holm_counts_tests_that_were_not_made():
    subjects = np.array([f"s{i:02d}" for i in range(40)], dtype=object)
    targets = np.arange(40) % 2
    test = verdict._Test(
        lambda rows: roc_auc_score(targets, targets[rows]),
        subjects,
        arrangements=10**6,
        sizes=(20, 20),
        n_features=None,
    )
    measures = [
        measure_of(value) | {"p": None, "p_holm": None} for value in (0.9, 0.5, 0.1)
    ]
    verdict._test_all([(PROBE, measure, test) for measure in measures], 0)
    assert measures[0]["p"] == 1 / 400 and measures[0]["p_holm"] == 3 / 400
    assert all(entry["p"] is entry["p_holm"] is None for entry in measures[1:])
    assert [entry["status"] for entry in measures] == ["flagged", "clear", "clear"]


def test_power_is_less_with_more_tests_features_and_fewer_subjects():
    def of(n=20, p=0.003, n_features=3.0, auroc=0.85):
        return power.power(auroc, n, n, p, 0.65, n_features)

    assert of(auroc=0.75) < of() < of(auroc=0.95)
    assert of(n=10) < of() < of(n=50)
    assert of(p=0.001) < of() < of(n_features=None)
    assert of(n_features=40.0) < of()
    # of a score nothing has to be learned: the normal test of Mann and Whitney's U
    expected = norm.cdf(
        (0.85 - (0.5 + norm.isf(0.003) * np.sqrt(41 / 4800)))
        / np.sqrt((0.1275 + 19 * (0.016630 + 0.058514)) / 400)
    )
    assert of(n_features=None) == pytest.approx(expected, abs=1e-3)
    assert of(n=10**6, auroc=0.6) == 0  # smaller ones are not looked for


def test_what_can_not_be_computed_says_why():
    manifest, features = cohort()
    manifest["y"] = 1.0
    manifest["z"] = np.nan
    features.loc[10:, "silence_a"] = np.nan
    manifest["score"] = 2.0
    names = ["x", "y", "z", "score"]
    found = audit_labels(manifest, features, names, scores=["score"])
    assert "only 10 rated" in found["x"]["silence_probe_auroc"]["reason"]
    assert found["x"]["capture_probe_auroc"]["status"] == "clear"
    assert any(
        "Not examined: silence probe (only 10" in r for r in found["x"]["reasons"]
    )
    for name, reason in (("y", "negative"), ("z", "only 0"), ("score", "is a score")):
        assert found[name]["status"] == "not_computable"
        assert reason in found[name]["capture_probe_auroc"]["reason"]
        assert found[name]["capture_probe_auroc"]["value"] is None
    json.dumps(found, allow_nan=False)


def test_a_label_does_not_depend_on_those_beside_it():
    manifest, features = cohort()
    manifest["y"] = 1 - manifest["x"].shift(48, fill_value=0)
    alone = audit_labels(manifest, features, ["x"])["x"]["capture_probe_auroc"]
    beside = audit_labels(manifest, features, ["y", "x"])["x"]["capture_probe_auroc"]
    assert alone["value"] == beside["value"]


# What is in two splits


def test_leakage_names_subjects_audio_and_shares():
    train = pd.DataFrame(
        {"ID": ["r1", "r2", "r3"], "subject": ["p1", "p2", "p2"], "x": [1, 0, np.nan]}
    )
    test = pd.DataFrame(
        {"ID": ["r4", "r5"], "subject": ["P02", "p3"], "x": [np.nan] * 2}
    )
    hashes = {"train": ["h1", "h2", "h2"], "test": ["h4", "h1"]}
    splits = {
        name: Split(
            name=name,
            manifest=manifest,
            measurements=manifest[["ID"]].assign(audio_sha256=hashes[name]),
        )
        for name, manifest in {"train": train, "test": test}.items()
    }
    found = leakage(splits, ["x"])
    assert found["shared_subjects"] == ["p2"]
    assert found["shared_audio"] == [
        {"splits": ["train", "test"], "uids": ["r1", "r5"]}
    ]
    shares = found["label_shares"]
    assert shares["train"]["x"] == {"n": 2, "n_positive": 1, "share": 0.5}
    assert shares["test"]["x"]["share"] is None and shares["test"]["x"]["reason"]
    json.dumps(found, allow_nan=False)
