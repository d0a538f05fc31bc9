"""What is done with Cloud PCs, apart from Pulumi: steps, inspection, removal, cleaning up, records."""
