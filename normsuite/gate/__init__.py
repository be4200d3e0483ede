"""Two versions of this package side by side: is one slower, heavier or less accurate than the other?"""
