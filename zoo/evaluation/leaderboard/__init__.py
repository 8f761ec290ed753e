"""The leaderboard, a static page: ``page.html`` with its style, script and data filled in."""
