"""The noise of the gradients of a network."""
