"""Gaussian priors, and the posterior in closed form."""
