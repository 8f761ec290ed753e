"""The leaderboard, a static page: ``page.html`` with style, script and data inserted."""
