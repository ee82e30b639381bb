"""Interpretable text models with learned latent priors, and the pipeline that compares them."""

__version__ = "0.1.0"
