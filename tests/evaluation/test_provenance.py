"""How an evaluation was made, as its report says it."""

import datetime
import json
import platform
import shlex

import numpy as np
import torch

from local.evaluation import provenance as module
from local.evaluation.provenance import provenance

NOON = datetime.datetime(2026, 1, 31, 12, 0, 5, 999, tzinfo=datetime.UTC)


def test_a_shell_reads_the_command_as_it_was_given():
    argv = ["python", "train.py", "--label_types={a: {type: score}}", "it's", "", "$X"]
    assert shlex.split(provenance(argv, NOON)["command"]) == argv


def test_the_date_has_its_time_zone_and_no_fractions():
    zone = datetime.timezone(datetime.timedelta(hours=-3.5))
    at = provenance([], NOON.astimezone(zone))["date"]
    assert at == "2026-01-31T08:30:05-03:30"


def test_without_a_date_it_is_the_time_of_the_call():
    before = datetime.datetime.now().astimezone().replace(microsecond=0)
    date = datetime.datetime.fromisoformat(provenance([])["date"])
    assert before <= date <= datetime.datetime.now().astimezone()


def test_versions_are_those_that_run():
    versions = provenance([], NOON)["versions"]
    assert versions["python"] == platform.python_version()
    assert versions["numpy"] == np.__version__
    assert torch.__version__.startswith(versions["torch"].split("+")[0])


def test_a_package_that_is_not_there_has_no_version(monkeypatch):
    monkeypatch.setattr(module, "PACKAGES", ("numpy", "no-such-package"))
    versions = provenance([], NOON)["versions"]
    assert list(versions) == ["python", "numpy"]


def test_the_same_inputs_give_the_same_json():
    assert json.dumps(provenance(["x"], NOON)) == json.dumps(provenance(["x"], NOON))
