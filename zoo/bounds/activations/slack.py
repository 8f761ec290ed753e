"""Allowances for float64's rounding in the lines around an activation."""

#: Over an interval shorter than this, no chord of an activation is used, because its slope would be
#: lost in rounding.
NARROW = 1e-6
#: Lines are moved outwards by this much, relative to the absolute values of their terms. Float64 is
#: wrong by a few units of 1e-16 of these values.
SLACK = 1e-12
