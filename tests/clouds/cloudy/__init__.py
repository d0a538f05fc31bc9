"""A driver for a cloud, in front of a small public cloud in a folder: what is awkward about clouds is awkward here."""
