"""A hook for mkdocs, which inserts the leaderboard."""

import pathlib

import zoo
from zoo.evaluation.leaderboard.page import page


def on_post_build(config):
    """Put the leaderboard into the site."""
    folder = pathlib.Path(config.site_dir, "leaderboard")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "index.html").write_text(page(zoo.list_models()), encoding="utf-8")
