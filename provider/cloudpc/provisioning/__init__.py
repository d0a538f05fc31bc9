"""From a claim on a host to credentials that work: stages, attempts, errors, ownership."""
