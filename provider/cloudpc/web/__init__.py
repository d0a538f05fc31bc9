"""Pages in a browser (`cloudpc serve`): what commands show and do, and the same code does it."""
