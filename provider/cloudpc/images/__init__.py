"""Base images: where they come from, how they are built, checked and stored."""
