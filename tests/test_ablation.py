"""recipes.demo.ablation: what is run, and the table of it."""

import numpy as np
import pytest
import soundfile

from local.cli import top_level_keys
from recipes.demo import ablation


def keys_of(options):
    return [option.removeprefix("--").split("=")[0] for option in options]


def test_every_option_is_a_key_of_the_yaml():
    known = {*top_level_keys(ablation.ROOT / "hparams" / "train.yaml"), "device"}
    for name, options in ablation.RUNS.items():
        assert set(keys_of([*ablation.COMMON, *options])) <= known, name


def test_every_augmentation_of_the_yaml_is_run_alone():
    """Whatever is 0 or False there, and changes recordings."""
    text = (ablation.ROOT / "hparams" / "train.yaml").read_text(encoding="utf-8")
    section = text.split("# ---- Augmentation")[1].split("# ----")[0]
    off = [
        line.split(":")[0]
        for line in section.splitlines()
        if line.split("#")[0].rstrip().endswith((": 0.0", ": 0", ": False"))
    ]
    alone = [key for options in ablation.ALONE.values() for key in keys_of(options)]
    assert len(off) > 15
    assert sorted(set(off) - {*alone, "mixup_equal_level"}) == []
    everything = keys_of(ablation.RUNS["all"])
    assert set(alone) == set(everything)
    kept = keys_of(ablation.RUNS["all but speed, stretch"])
    assert set(everything) - set(kept) == {"speed", "stretch"}


def test_the_table_has_means_spreads_and_differences():
    none = {"macro": np.array([0.8, 0.9]), "slow": np.array([0.7, 0.9])}
    gain = {"macro": np.array([0.81, 0.93]), "slow": np.array([0.6, 0.8])}
    table = ablation.format_table({"none": none, "gain": gain, "codec": {}})
    assert table.splitlines()[2:] == [
        # the standard deviation of two numbers 0.1 apart: 0.1 / sqrt(2)
        "| none | 0.850 ± 0.071 |  | 0.800 |",
        "| gain | 0.870 ± 0.085 | +0.020 (+0.010 to +0.030) | 0.700 |",
    ]


def test_rooms_ring_out_after_the_direct_sound(tmp_path):
    ablation.make_rooms(tmp_path, n_rooms=3)
    for path in sorted(tmp_path.iterdir()):
        response, rate = soundfile.read(path)
        assert response.argmax() == 0
        first, last = np.array_split(response[1:], 2)
        # 60 dB within the response: 30 dB between its halves
        ratio_db = 10 * np.log10((first**2).sum() / (last**2).sum())
        assert ratio_db == pytest.approx(30, abs=3)
        assert 0.2 <= len(response) / rate <= 0.8


def test_noises_fall_with_frequency(tmp_path):
    ablation.make_noises(tmp_path, n_noises=1, duration_s=2)
    noise, _ = soundfile.read(tmp_path / "noise00.wav")
    power = np.abs(np.fft.rfft(noise)) ** 2
    frequency = np.fft.rfftfreq(len(noise), 1 / ablation.SAMPLE_RATE)

    def octave_db(low):
        return 10 * np.log10(power[(frequency >= low) & (frequency < 2 * low)].mean())

    slope_db = (octave_db(2000) - octave_db(250)) / 3
    assert -9.5 < slope_db < -2.5
