"""What is done with Cloud PCs without Pulumi: steps, looks, removal, tidying, records."""
