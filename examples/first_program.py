import numpy as np
import corec

engine = corec.Engine({"bloques": [{"id": "rooms", "canal": 1, "entidades": 1000, "limites": {"alto": 8.0}}]})
rng, start = np.random.default_rng(7), 1_700_000_000_000
for second in range(60):
    celsius = 4 + 0.2 * rng.standard_normal(1000)
    celsius[17] += max(0, second - 30) * 0.3                      # a door left open
    outcome = engine.feed_arrays(np.arange(1000), celsius, channel=1, at=start + second * 1000)
    for alert in outcome.alerts:
        print(f"second {second}: room {alert['id']} at {alert['valor']:.1f}, limit {alert['limit']:.1f}")
print(engine.ledger["in"], "readings in,", engine.ledger["stored"], "messages out,", len(engine.finish().aggregates), "last rows")

# It prints:
#
#     second 44: room 17 at 8.1, limit 8.0
#     60000 readings in, 15621 messages out, 3 last rows
