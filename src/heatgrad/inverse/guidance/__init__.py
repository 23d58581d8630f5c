"""How a sampler heeds what was measured."""
