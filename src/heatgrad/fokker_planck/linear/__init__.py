"""SGD with a linear drift: everything exactly."""
