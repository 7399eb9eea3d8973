"""Finds what is wrong with a release: facts are collected once, judged by checks that are data, folded to causes."""
