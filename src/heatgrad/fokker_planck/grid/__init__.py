"""The Fokker-Planck equation on a grid, as a Markov chain."""
