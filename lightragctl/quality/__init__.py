"""How good answers are, and how sure figures are: relevance, recall of an index, intervals and tests."""
