"""The measuring kit: one workload, clock, schedule, process, memory, accuracy and metric for everything that measures.

    from normsuite.measure import accuracy, clock, memory
    from normsuite.measure.workload import named, sets

    workload = named("GroupNorm", "auto", "tiny", "step")     # or Workload(implementation, task)
    calls = workload.ready(sets(workload.task))               # a call for each set of operands, each made once
    with clock.timers({"ours": calls}) as timers:
        times_s = clock.samples(timers["ours"])
    peak = memory.peak_bytes(calls[0])
    output, gradient = accuracy.errors(workload)

Modules, what is measured first, and the processes that measure last:

    labels           names under which tables show what others are compared with; imports no torch
    metric           what is measured: name, unit, margin, whether it has noise; imports no torch
    cases            shapes, and the norms that are measured on them; imports no torch
    operands         seeded tensors for a norm on a case
    task             a norm on a case in a mode and type on a device; a table of tasks (`plan`)
    clock            calls made ready for the clock of their device; calibration, warming up, samples of one call
    device_clock     the clock of an accelerator: captured graphs over rotating operands
    implementations  what computes, one file each: ours, torch.nn, rivals
    workload         an implementation that does a task: what is called
    prepared         a call that a user's project prepares itself
    own_workloads    the public functions and modules on a few cases
    schedule         many calls in turn on the processor, in rounds A B B A
    device_schedule  the same on an accelerator
    pairs            two calls against each other, in blocks A B B A
    memory           bytes at once, bytes kept for the backward pass
    exact            the right results of a norm in float64, by the oracle
    accuracy         errors against them; `device_accuracy` on an accelerator
    environment      what a record says of the machine
    process_state    whether a call changed a global setting of the process
    process          fresh processes that measure, with an allocator that keeps what it got
    preloaded        processes forked by one that has imported torch
    listening        what they say, until they end or hang
"""
