"""The machine and the process: processor, devices, memory, threads, streams, slow imports and missing packages."""
