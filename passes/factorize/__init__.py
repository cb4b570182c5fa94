"""`factorize`: operators with a weight become several thin ones."""
