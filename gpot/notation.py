r"""Symbols used everywhere, so that code reads like the equations.

==============  =====================================================================================
symbol          meaning
==============  =====================================================================================
`x`             data, law mu, shape (n, d)
`z`             Gaussian side, law nu = N(0, I), shape (n, d)
`c`             cube side, :math:`c = \mathrm{erf}(z / \sqrt 2)` in (-1, 1)^d
`t`             time in [0, 1]
`f`, `g`        the trained flow x -> z, and its inverse
`s`             the Gaussian-preserving map z -> z, :math:`s = \Phi \circ Q`
`Q`             a rotation, orthogonal (d, d), reflections allowed
`phi`, `Phi`    the flow map of the ODE on the cube, and on the Gaussian side
`v`, `w`        velocity dc/dt, and :math:`w_i = v_i / q_i` with :math:`q_i = 1 - c_i^2` (eq. 17)
`psi`           antisymmetric potentials of a divergence-free field (eq. 14)
`a`, `u`        outputs of the network that psi is made of
`penalty`       R, eq. (11); `penalty_weight` is lambda
`energy`        E, eq. (9)
`log_det`       :math:`\log |\det \partial z / \partial x|`, shape (n,), never with its sign changed
==============  =====================================================================================

Functions return `(z, log_det)` in that order. Equation numbers are those of the paper (Morel et al., 2022, HAL
hal-03782622v4); where it has a slip, the docstring says so.
"""
