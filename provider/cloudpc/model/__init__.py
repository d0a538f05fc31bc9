"""The common vocabulary: values, codes, and the protocols that drivers implement."""
