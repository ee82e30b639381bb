"""The sentence model and what it is composed of: networks, posteriors, priors, regularisers, plans of an epoch."""
