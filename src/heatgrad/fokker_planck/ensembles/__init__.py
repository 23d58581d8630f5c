"""Ensembles of paths: of the stochastic equation, and of true minibatch SGD."""
