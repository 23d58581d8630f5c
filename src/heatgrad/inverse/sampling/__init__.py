"""Draws of a posterior by reverse diffusion."""
