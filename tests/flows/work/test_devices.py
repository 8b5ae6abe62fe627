"""Which device is chosen, told from what torch says is here."""

from __future__ import annotations

import pytest
import torch

from guidestore.embeddings.errors import InvalidInputError
from guidestore.flows.work import devices
from guidestore.flows.work.devices import also_on, devices_of, in_words, one_device, readers_for


def machine(monkeypatch: pytest.MonkeyPatch, *, cuda: bool, mps: bool) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)


def test_auto_is_the_best_that_is_here(monkeypatch):
    machine(monkeypatch, cuda=True, mps=False)
    assert devices_of("auto") == ("cuda:0",)
    assert one_device("auto", "heads") == "cuda:0"
    machine(monkeypatch, cuda=False, mps=False)
    assert devices_of("auto") == ("cpu",)


def test_mps_is_taken_where_it_has_what_the_work_needs(monkeypatch):
    machine(monkeypatch, cuda=False, mps=True)
    monkeypatch.setattr(devices, "_mps_lacks", lambda work: "no float64" if work == "heads" else None)
    assert devices_of("auto", "encoders") == ("mps",)
    assert devices_of("auto", "heads") == ("cpu",)


def test_what_mps_lacks_is_found_by_trying():
    """This PyTorch has no mps at all, which is a lack like any other."""
    assert devices._mps_lacks("heads")
    assert devices._mps_lacks("encoders")


def test_several_are_named_with_commas():
    assert devices_of("cpu, cpu") == ("cpu", "cpu")
    with pytest.raises(InvalidInputError, match="'cpu,cpu' are 2 devices, and one is needed here"):
        one_device("cpu,cpu", "heads")
    with pytest.raises(InvalidInputError, match=r"device 'tpu:9' cannot be used here .*; give --device cpu"):
        devices_of("cpu,tpu:9")


def test_a_gpu_is_said_with_its_name(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"card of {device}")
    assert in_words(("cuda:0", "cpu")) == "cuda:0 (card of cuda:0), cpu"
    assert also_on(also_on(also_on("", "cpu"), "cpu"), "cuda:0 (x)") == "cpu, cuda:0 (x)"


def test_a_gpu_is_given_a_reader_for_each_core(monkeypatch):
    monkeypatch.setattr(devices.os, "sched_getaffinity", lambda _: set(range(16)))
    assert readers_for(("cpu",)) == 2
    assert readers_for(("cuda:0",)) == 16
