"""When an interval is too short for a chord."""

#: Over an interval shorter than this, no chord of an activation is used, because its slope would be
#: lost in rounding.
NARROW = 1e-6
