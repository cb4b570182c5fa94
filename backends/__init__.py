"""Where programs run: one folder per backend; they do not know each other."""
