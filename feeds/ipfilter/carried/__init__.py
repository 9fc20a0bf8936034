"""Targets that a file and a command reach: BGP speakers, routers, pf, plain text.

What such a target holds is read from the file that this program wrote, never guessed.
"""
