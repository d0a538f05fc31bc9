"""Network connections: their files, with the domains they name, and whether they can be used."""
