"""Pages for users and admins, and the desktops in them: what `cloudpc serve` runs."""
