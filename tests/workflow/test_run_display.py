"""What `guidegen run` prints where there is no terminal."""

import re

from guidegen.run_display import _Lines

OUTPUT = """
Job stats:
job        count
-------  -------
all            1
convert       12
train          2
total         15

rule convert:
    input: a
    log: logs/convert/tcga_luad-s000.log
Finished jobid: 3 (Rule: convert)
rule train:
    output: b
    log: logs/train/contrast_autoencoder.log
Finished jobid: 4 (Rule: train)
"""


def test_jobs_are_told_when_they_end_and_long_ones_when_they_start(capsys) -> None:
    display = _Lines()
    display.last = -10.0
    for line in OUTPUT.splitlines():
        display.read(line)
    told = [re.sub(r"^\[.*? s\] ", "", line) for line in capsys.readouterr().err.splitlines()]
    assert told[0] == "1/15 jobs, convert 1/12"
    assert told[1] == "started, see logs/train/contrast_autoencoder.log"
    assert not any("logs/convert" in line for line in told)
