"""Nothing outlives a command with workers, whatever ends it and whenever."""

import sys

import orphans
import pytest

NOISE = ("Traceback", "Unpickling", "resource_tracker", "Exception ignored", "defect")
FEW = 3  # seconds within which the run of the short budget is ended


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
@pytest.mark.parametrize("command", orphans.COMMANDS)
def test_no_orphans(command, campaign, tmp_path):
    runs = campaign.budget(1, 90)
    longest = orphans.whole_run(command, tmp_path) if runs > 1 else FEW
    for number in range(runs):
        ended = orphans.end(command, number, longest, tmp_path)
        campaign.runs, campaign.longest = campaign.runs + 1, max(campaign.longest, ended.seconds)
        noise = [word for word in NOISE if word in ended.said]
        if ended.left or noise:
            left = f"{ended.left} processes left of {ended.at_work}"
            campaign.wrong.append(f"run {number}: {left}, {noise}: {ended.said}")
    assert campaign.wrong == []
