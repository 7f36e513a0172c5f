"""Networks and their training: built, fitted, scored and exported."""
