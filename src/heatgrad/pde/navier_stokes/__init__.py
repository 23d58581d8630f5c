"""Vorticity on the torus: spectral operators, time steps, problem, residuals."""
