"""What asv measures of every commit. Lower is better in all of it, since asv takes every increase as a regression."""
