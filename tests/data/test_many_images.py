"""Memory doesn't grow with a folder of images: ten times as many take no more of it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("many_images.py")


def measured(tmp_path, images):
    command = [sys.executable, str(PROGRAM), str(images), "2", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(PROGRAM.parents[2])}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")
def test_a_folder_of_many_images_takes_no_more_memory(tmp_path):
    few, many = (measured(tmp_path, images) for images in (10_000, 100_000))
    assert many["sequences: peak MiB"] - few["sequences: peak MiB"] < 80
    assert many["MiB of a decoder"] - few["MiB of a decoder"] < 20
