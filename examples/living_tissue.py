"""A tissue of two thousand pacemaker cells that beats, falls ill and heals itself.

Each cell is an entity with a native function, a sine of its own phase: compiled code steps them, no Python is called.
Poison makes the cells it reaches fail; once more than `max_errores` of a block do, each of them is regenerated and takes over
the function of its nearest healthy neighbour.
"""
import numpy as np

import corec

START = 1_700_000_000_000
engine = corec.Engine({"retraso_max": 0, "bloques": [{
    "id": "tissue", "canal": 1, "entidades": 2000,
    "funcion": {"nombre": "sine", "a": -65.0, "b": 20.0, "periodo": 10.0},  # mV about rest, a beat each ten seconds
    "autoreparacion": {"max_errores": 0.05},
}]})
rng = np.random.default_rng(3)

a_few, many = rng.choice(1000, 20, replace=False), rng.choice(1000, 150, replace=False)

for second in range(12):
    parts = [engine.tick(START + second * 1000)]
    poisoned = {2: a_few, 3: a_few, 4: a_few, 7: many, 8: many, 9: many}.get(second, [])
    failed = np.zeros(len(poisoned), bool)
    parts.append(engine.feed_arrays(poisoned, np.zeros(len(poisoned)), channel=1, at=START + second * 1000, states=failed))
    for outcome in parts:
        for row in outcome.aggregates[outcome.aggregates["block"] == 0]:
            bar = "#" * round(row["fitness"] * 30)
            print(f"{(row['window'] - START) // 1000:2} s  {bar:30}  fitness {row['fitness']:.2f}, {row['errors']} failed")
        for repair in outcome.repairs:
            print(f"      {repair.entities} cells regenerated in {engine.block_ids[repair.block]}")

cell = engine.entity(7)
print(f"cell 7 at {cell['valor']:.1f} mV, {'alive' if cell['activo'] else 'ill'}")

# It prints:
#
#      0 s  ##############################  fitness 1.00, 0 failed
#      1 s  ##############################  fitness 1.00, 0 failed
#      2 s  #############################   fitness 0.98, 20 failed
#      3 s  #############################   fitness 0.98, 20 failed
#      4 s  #############################   fitness 0.96, 20 failed
#      5 s  #############################   fitness 0.98, 0 failed
#      6 s  #############################   fitness 0.98, 0 failed
#      7 s  ##########################      fitness 0.85, 150 failed
#      8 s  ##########################      fitness 0.85, 150 failed
#      9 s  ######################          fitness 0.72, 150 failed
#           168 cells regenerated in tissue/0
#     10 s  ##############################  fitness 1.00, 0 failed
#     cell 7 at -56.1 mV, alive
