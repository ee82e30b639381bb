"""The sentence model and what it is composed of.

Networks, posteriors, priors, regularisers, plans of an epoch.
"""
