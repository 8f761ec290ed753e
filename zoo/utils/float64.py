"""How exact float64 is, where bounds are computed in it."""

#: Norms, singular values, eigenvalues and sums of products in float64 are wrong by less than this,
#: relative to the sizes of their terms. Float64's unit roundoff is 1.1e-16, and no sum here has
#: more than a few million terms.
SLACK = 1e-9
#: The same for the few terms of a line around an activation, or of one product of rows and inputs.
LINE_SLACK = 1e-12
