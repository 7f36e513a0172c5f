"""The commands of `convoy`, one file per noun.

They import what is heavy only when they are called.
"""
