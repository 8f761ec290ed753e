"""The tables of papers, as `training/papers` describes them, beside the zoo's own results."""
