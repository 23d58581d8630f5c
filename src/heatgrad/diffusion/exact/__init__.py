"""Denoisers in closed form: truths for samplers, guidance, likelihoods and networks."""
