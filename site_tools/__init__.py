"""Tools that make the pages, pictures and tables of the documentation site."""
