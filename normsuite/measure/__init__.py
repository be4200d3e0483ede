"""The measuring kit: workload, clock, schedule, process, memory, accuracy and metric, one of each."""
