"""Gates: named checks with a threshold and a stored result. A version that fails one does not serve.

Each judges the bundle as it would be served (the graph, tokenizer and weights on disk, not what training had in memory), on
labels that no head has trained on. A check fails when the evidence shows that the threshold is broken, with its interval;
where labels are too few to show it, it passes and says so.
"""
