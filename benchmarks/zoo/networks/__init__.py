"""The networks that the zoo's weights belong to, one a file; importing one loads torch."""
