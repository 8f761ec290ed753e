"""A hook for mkdocs, which inserts the leaderboard."""

import pathlib

import zoo
from zoo.evaluation.leaderboard.page import write


def on_post_build(config):
    """Put the leaderboard into the site."""
    write(pathlib.Path(config.site_dir, "leaderboard"), zoo.list_models())
