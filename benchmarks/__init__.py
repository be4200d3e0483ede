"""asv's benchmarks of every commit. Lower is better in all of them, since asv takes every increase as a regression."""
