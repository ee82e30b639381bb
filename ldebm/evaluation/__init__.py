"""What a trained model is scored by: inference over whole splits, scores, likelihood estimators."""
