"""The networks every row shares (encoder, decoder) and the energy networks of the learned priors."""
