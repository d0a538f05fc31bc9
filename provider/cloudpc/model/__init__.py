"""What everything speaks in: values, codes, and the protocols that drivers implement."""
