"""This machine and this process: processor, devices, memory, threads, streams, slow imports and missing packages."""
