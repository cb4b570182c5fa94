"""Passes from a quantized Program to one whose products are on crossbars."""
