"""The papers' tables beside what this zoo measures."""
