"""Indexes of a release's collections: what there is, life-cycle rules, and what to do about them."""
