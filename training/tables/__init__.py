"""The papers' tables beside what this zoo measures; `training/papers` holds what they are of."""
