"""A world in which nothing waits: the loops of a node run in one thread, in an order and at times that a number decides.

    world = World(7)
    clock = SimulatedClock(world, wall_ms=1_700_000_000_000)
    with SimulatedNode(config, folder, clock) as node:
        ticket = node.submit(frames, time=clock.wall_ms())
        world.pass_time(3600)

The same number gives the same run.  Folder, journal and SQLite store are real.
"""
from corec.simulation.node import SimulatedNode
from corec.simulation.process import Killed, Process
from corec.simulation.world import SimulatedClock, World

__all__ = ["Killed", "Process", "SimulatedClock", "SimulatedNode", "World"]
