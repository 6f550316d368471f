"""A campaign against lost work and wrong numbers: processes killed, disks full, files damaged, races, malformed input.

    python -m benchmarks.faults --out outputs/faults/faults.json     # make faults; again: it goes on
    python -m benchmarks.faults --sample                             # make faults-sample: a part of it, in two minutes

Every command of the campaign is a script of gpot in a process of its own, forked from one that has imported everything:
so a kill costs as much as what it interrupts. The commands are those of a reader (`scripts/report.py`, ...), on two
moons, at a scale at which all stages take half a second.
"""
