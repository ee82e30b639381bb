"""Text in, token arrays out: treebank, a user's own files or the grammar corpus, then vocabulary
and splits.
"""

SPLITS = ("train", "valid", "test")
