"""What float64 may round away in a line around an activation."""

#: Over shorter intervals an activation is bounded by its values at the ends, because the slope of a
#: chord would be lost in rounding.
NARROW = 1e-6
#: Lines are moved apart by this much, relative to the sizes of their terms: float64 is wrong by a
#: few units of 1e-16 of them.
SLACK = 1e-12
