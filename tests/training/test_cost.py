"""The time of the first image is not mixed with that of further ones."""

import dataclasses
import time
import types

import numpy as np
import pytest

import zoo
from tests.backend import BACKEND
from training.cost import cost


class SlowAtFirst:
    """Takes .2 s for the first image, and 1 ms for each further one."""

    def __init__(self):
        self.asked = []

    def certify(self, images):
        time.sleep(0.001 * len(images) if self.asked else 0.2)
        self.asked.append(len(images))
        return types.SimpleNamespace(method="slow")


@pytest.mark.skipif(BACKEND == "jax", reason="nothing of it depends on the backend")
def test_the_first_image_is_timed_by_itself():
    model = SlowAtFirst()
    measured = cost(model, np.zeros((300, 2, 2, 1)))
    assert model.asked[0] == 1
    assert (measured.method, measured.n) == ("slow", 256)
    assert measured.first_seconds >= 0.2
    assert 1.0 <= measured.milliseconds < 20.0
    assert str(measured).startswith(f"{measured.first_seconds} s for the first image, ")
    without = dataclasses.replace(measured, first_seconds=None)
    assert str(without).startswith(f"{measured.milliseconds} ms an image, ")


def test_fewer_images_than_usual_are_timed_as_they_are():
    model = zoo.load("linf-dist-digits")
    measured = cost(model, np.zeros((3, 8, 8, 1)))
    assert (measured.method, measured.n) == ("interval", 3)
    assert measured.first_seconds > 0
    assert measured.milliseconds > 0
