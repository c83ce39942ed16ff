"""recipes.demo.ablation: what is run, and the table of it."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from running import SMALL, run_script

from local.utils.cli import top_level_keys
from local.utils.yaml_files import plain_values
from recipes.demo import ablation

pytestmark = pytest.mark.unmeasured

YAML = ablation.ROOT / "hparams" / "train.yaml"


def test_every_option_is_a_key_of_the_yaml():
    known = {*top_level_keys(YAML), "device"}
    common = {option.removeprefix("--").split("=")[0] for option in ablation.COMMON}
    assert common <= known
    for name, options in ablation.RUNS.items():
        assert set(options) <= known, name


def test_every_augmentation_of_the_yaml_is_run_alone():
    """Whatever has a probability there, and what changes features."""
    text = YAML.read_text(encoding="utf-8")
    keys = {*re.findall(r"probability: !ref <(\w+)>", text), "freqm", "timem", "noise"}
    assert len(keys) > 15
    alone = [key for options in ablation.ALONE.values() for key in options]
    assert sorted(alone) == sorted(keys)
    for name, options in ablation.RUNS.items():
        assert set(options) == keys  # whatever is on in the yaml
        on = {key for key, value in options.items() if value}
        expected = {
            "none": set(),
            "all": keys,
            "all but speed, stretch": keys - {"speed", "stretch"},
        }
        assert on == expected.get(name, set(ablation.ALONE.get(name, ())))


def test_the_table_has_means_spreads_and_differences_of_the_same_seeds():
    none = {1: {"macro": 0.8, "slow": 0.7}, 2: {"macro": 0.9, "slow": 0.9}}
    gain = {1: {"macro": 0.81, "slow": 0.6}, 3: {"macro": 0.93, "slow": 0.8}}
    table = ablation.format_table({"none": none, "gain": gain, "codec": {}})
    assert table.splitlines()[2:] == [
        # the standard deviation of two numbers 0.1 apart: 0.1 / sqrt(2)
        "| none | 0.850 ± 0.071 |  | 0.800 |",
        "| gain | 0.870 ± 0.085 | +0.010 (+0.010 to +0.010) | 0.700 |",
    ]


def test_runs_are_made_once_and_the_table_is_printed(
    shared_corpus, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(ablation, "COMMON", SMALL)
    forked = SimpleNamespace(
        run=lambda command, **_: run_script(*command[1:]), DEVNULL=None
    )
    monkeypatch.setattr(ablation, "subprocess", forked)
    arguments = [
        f"--corpus_folder={shared_corpus}",
        f"--output_folder={tmp_path}",
        "--seeds=4",
        "--only=none;all",
        "--n_jobs=1",
    ]
    assert ablation.main(arguments) == 0
    first = capsys.readouterr().out
    assert "none, seed 4: 0." in first and "all, seed 4: 0." in first
    saved = {
        name: plain_values(tmp_path / name / "4" / "hyperparams.yaml")
        for name in ("none", "all")
    }
    assert saved["all"]["mixup"] == 0.5 and saved["none"]["mixup"] == 0
    assert ablation.main(arguments) == 0
    again = capsys.readouterr().out
    assert again == first[first.index("| augmentation") :]
    monkeypatch.setattr(ablation, "COMMON", SMALL[1:])
    assert ablation.main(arguments) == 2
    assert "with other settings" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "hint"), [("--seeds=a", "whole numbers"), ("--only=x", "are none of")]
)
def test_wrong_options_are_told(tmp_path, capsys, option, hint):
    folders = [f"--corpus_folder={tmp_path}", f"--output_folder={tmp_path / 'o'}"]
    assert ablation.main([*folders, option]) == 2
    assert hint in capsys.readouterr().err


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
