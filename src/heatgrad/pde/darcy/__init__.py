"""Flow through a medium of two conductivities: solver, reference, residual, problem."""
