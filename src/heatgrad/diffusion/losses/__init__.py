"""What denoisers are trained by: objectives that call the network themselves."""
