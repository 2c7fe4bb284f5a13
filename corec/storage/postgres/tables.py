"""The tables of CoreC's database, one migration after the other. A published migration never changes.

See docs/postgresql.md. The functions that make and drop partitions belong to the owner and run with its rights, so the
writer needs none.
"""

_FIRST = """
CREATE TABLE shards (
  instance_id text NOT NULL, shard smallint NOT NULL, epoch bigint NOT NULL, owner text NOT NULL,
  taken timestamptz NOT NULL DEFAULT now(), turn bigint NOT NULL, to_offset bigint NOT NULL,
  ledger text NOT NULL, totals text NOT NULL, log text NOT NULL, moved text, PRIMARY KEY (instance_id, shard)
) WITH (fillfactor = 50);

CREATE TABLE blocks (
  instance_id text NOT NULL, shard smallint NOT NULL, block bigint NOT NULL, id text NOT NULL, canal smallint NOT NULL,
  entities integer NOT NULL, PRIMARY KEY (instance_id, shard, block)
);

CREATE TABLE bloques (
  id text NOT NULL, canal smallint NOT NULL, num_entidades integer NOT NULL, fitness real, "timestamp" timestamptz NOT NULL,
  instance_id text NOT NULL, shard smallint NOT NULL, turn bigint NOT NULL, span integer NOT NULL, block bigint NOT NULL,
  "count" bigint NOT NULL, mean double precision, "min" real, "max" real, std double precision, errors bigint NOT NULL,
  messages bigint NOT NULL, score real
) PARTITION BY RANGE ("timestamp");
CREATE INDEX bloques_id_time ON bloques (id, "timestamp");
CREATE INDEX bloques_time ON bloques USING brin ("timestamp");

CREATE TABLE alerts (
  "timestamp" timestamptz NOT NULL, id bigint NOT NULL, bloque text NOT NULL, canal smallint NOT NULL, kind smallint NOT NULL,
  valor real, "limit" real, instance_id text NOT NULL, shard smallint NOT NULL, turn bigint NOT NULL, row bigint NOT NULL,
  block bigint NOT NULL
) PARTITION BY RANGE ("timestamp");
CREATE INDEX alerts_time ON alerts ("timestamp");
CREATE INDEX alerts_turn ON alerts (instance_id, shard, turn);

CREATE TABLE bloques_aside (LIKE bloques);
ALTER TABLE bloques_aside ALTER "timestamp" TYPE bigint USING 0;
CREATE TABLE alerts_aside (LIKE alerts);
ALTER TABLE alerts_aside ALTER "timestamp" TYPE bigint USING 0;

CREATE TABLE turns (
  instance_id text NOT NULL, shard smallint NOT NULL, turn bigint NOT NULL, from_offset bigint NOT NULL, to_offset bigint NOT NULL,
  load_q smallint NOT NULL, tick bigint NOT NULL, commands text NOT NULL, config_hash text NOT NULL, created bigint NOT NULL,
  windows integer NOT NULL, alerts integer NOT NULL, late integer NOT NULL, outbox integer NOT NULL, aside integer NOT NULL,
  committed timestamptz NOT NULL DEFAULT now()
) PARTITION BY RANGE (committed);
CREATE INDEX turns_turn ON turns (instance_id, shard, turn);

CREATE TABLE late (
  instance_id text NOT NULL, shard smallint NOT NULL, seq bigint NOT NULL, turn bigint NOT NULL, "time" bigint NOT NULL,
  arrival bigint NOT NULL, cause text NOT NULL, frames bytea NOT NULL, PRIMARY KEY (instance_id, shard, seq)
);
CREATE TABLE outbox (
  instance_id text NOT NULL, shard smallint NOT NULL, seq bigint NOT NULL, turn bigint NOT NULL, stream text NOT NULL,
  "time" bigint NOT NULL, frames bytea NOT NULL, PRIMARY KEY (instance_id, shard, seq)
);

CREATE TABLE historia (
  "time" bigint NOT NULL, instance_id text NOT NULL, shard smallint NOT NULL, turn bigint NOT NULL, row integer NOT NULL,
  block bigint NOT NULL, what text NOT NULL, host bigint NOT NULL, fitness real, host_fitness real, failing integer NOT NULL,
  entities integer NOT NULL, inherited integer NOT NULL, reason text NOT NULL, subject text NOT NULL,
  committed timestamptz NOT NULL DEFAULT now()
) PARTITION BY RANGE (committed);
CREATE INDEX historia_time ON historia (instance_id, shard, "time");

CREATE TABLE snapshots (
  instance_id text NOT NULL, shard smallint NOT NULL, turn bigint NOT NULL, to_offset bigint NOT NULL, generation bigint NOT NULL,
  noted timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (instance_id, shard, turn)
);
CREATE TABLE snapshot_heads (
  instance_id text NOT NULL, shard smallint NOT NULL, generation bigint NOT NULL, turn bigint NOT NULL, to_offset bigint NOT NULL,
  created bigint NOT NULL, meta bytea NOT NULL, crc bigint NOT NULL, live bytea, PRIMARY KEY (instance_id, shard, generation)
);
CREATE TABLE snapshot_segments (
  instance_id text NOT NULL, shard smallint NOT NULL, segment bigint NOT NULL, generation bigint NOT NULL, blob bytea NOT NULL,
  crc bigint NOT NULL, PRIMARY KEY (instance_id, shard, segment, generation)
);
ALTER TABLE snapshot_segments ALTER blob SET STORAGE EXTERNAL;

CREATE FUNCTION corec_partition_lock() RETURNS void LANGUAGE sql AS $$
  SELECT pg_advisory_xact_lock(hashtext('corec partitions'))
$$;

-- Asks the table of tables: what to_regclass remembers is not refreshed by waiting for a lock.
CREATE FUNCTION corec_is_there(name text) RETURNS boolean LANGUAGE sql VOLATILE AS $$
  SELECT EXISTS (SELECT FROM pg_class WHERE relname = name AND relnamespace = current_schema()::regnamespace)
$$;

-- A table of its own first, then attached: attaching does not make those wait who write to other partitions.
CREATE FUNCTION corec_attach(parent text, name text, since timestamptz, until timestamptz, canales smallint[])
RETURNS void LANGUAGE plpgsql AS $$
DECLARE canal smallint;
BEGIN
  IF cardinality(canales) = 0 THEN
    EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL)', name, parent);
  ELSE
    EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL) PARTITION BY LIST (canal)', name, parent);
    FOREACH canal IN ARRAY canales LOOP
      EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES IN (%s)', name || '_canal_' || canal, name, canal);
    END LOOP;
    EXECUTE format('CREATE TABLE %I PARTITION OF %I DEFAULT', name || '_otros', name);
  END IF;
  EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', parent, name, since, until);
END $$;

CREATE FUNCTION corec_make_month(parent text, month date, canales smallint[]) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
  since timestamp := date_trunc('month', month::timestamp);
  name text := parent || to_char(since, '_YYYY_MM');
BEGIN
  IF parent NOT IN ('bloques', 'alerts', 'historia') THEN RAISE EXCEPTION 'no table by months: %', parent; END IF;
  IF corec_is_there(name) THEN RETURN false; END IF;
  PERFORM corec_partition_lock();
  IF corec_is_there(name) THEN RETURN false; END IF;
  PERFORM corec_attach(parent, name, since AT TIME ZONE 'UTC', (since + interval '1 month') AT TIME ZONE 'UTC', canales);
  RETURN true;
END $$;

CREATE FUNCTION corec_make_turns(day date) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
  since timestamp := day::timestamp;
  name text := 'turns' || to_char(since, '_YYYY_MM_DD');
BEGIN
  IF corec_is_there(name) THEN RETURN false; END IF;
  PERFORM corec_partition_lock();
  IF corec_is_there(name) THEN RETURN false; END IF;
  PERFORM corec_attach('turns', name, since AT TIME ZONE 'UTC', (since + interval '1 day') AT TIME ZONE 'UTC', '{}');
  RETURN true;
END $$;

CREATE FUNCTION corec_partitions(parent text) RETURNS TABLE (name text, since date, until date) LANGUAGE sql STABLE AS $$
  SELECT relname::text, since, (CASE WHEN parent = 'turns' THEN since + interval '1 day' ELSE since + interval '1 month' END)::date
  FROM (SELECT c.relname, to_date(substr(c.relname, length(parent) + 2), 'YYYY_MM_DD') AS since
        FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid WHERE i.inhparent = to_regclass(quote_ident(parent))) AS p
  ORDER BY since
$$;

-- Drops the partitions that end by then; how many.
CREATE FUNCTION corec_drop_before(parent text, before date) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
  gone integer := 0;
  old text;
BEGIN
  IF parent NOT IN ('bloques', 'alerts', 'historia', 'turns') THEN RAISE EXCEPTION 'no table of partitions: %', parent; END IF;
  IF NOT EXISTS (SELECT FROM corec_partitions(parent) AS p WHERE p.until <= before) THEN RETURN 0; END IF;
  PERFORM corec_partition_lock();
  FOR old IN SELECT p.name FROM corec_partitions(parent) AS p WHERE p.until <= before LOOP
    EXECUTE format('DROP TABLE %I', old);
    gone := gone + 1;
  END LOOP;
  RETURN gone;
END $$;

REVOKE EXECUTE ON FUNCTION corec_make_month, corec_make_turns, corec_drop_before, corec_attach FROM PUBLIC;
"""

_COMPACT = """
-- Puts a row a minute in the place of a month's finer ones; how many rows there are then, NULL when it had none finer.
-- The month is made anew beside the old one and takes its place in this transaction.
CREATE FUNCTION corec_compact_month(month date) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
  since timestamp := date_trunc('month', month::timestamp);
  name text := 'bloques' || to_char(since, '_YYYY_MM');
  canales smallint[];
  fine boolean;
  made bigint;
BEGIN
  PERFORM corec_partition_lock();
  IF NOT corec_is_there(name) THEN RETURN NULL; END IF;
  EXECUTE format('LOCK TABLE %I IN ACCESS EXCLUSIVE MODE', name);
  EXECUTE format('SELECT EXISTS (SELECT FROM %I WHERE span = 0)', name) INTO fine;
  IF NOT fine THEN RETURN NULL; END IF;
  SELECT coalesce(array_agg(substring(c.relname FROM '_canal_([0-9]+)$')::smallint), '{}') INTO canales
  FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
  WHERE i.inhparent = to_regclass(quote_ident(name)) AND c.relname ~ '_canal_[0-9]+$';
  EXECUTE format($q$CREATE TEMP TABLE corec_minutes ON COMMIT DROP AS
    SELECT id, canal, max(num_entidades) AS num_entidades, min(fitness) AS fitness, minute AS "timestamp", instance_id, shard,
      max(turn) AS turn, 60000 AS span, block, sum("count")::bigint AS "count", max(whole) AS mean, min("min") AS "min",
      max("max") AS "max", sqrt(sum("count" * (std * std + (mean - whole) * (mean - whole))) / nullif(sum("count"), 0)) AS std,
      sum(errors)::bigint AS errors, sum(messages)::bigint AS messages, max(score) AS score
    FROM (SELECT *, date_trunc('minute', "timestamp", 'UTC') AS minute, sum("count" * mean)
            OVER (PARTITION BY instance_id, shard, block, date_trunc('minute', "timestamp", 'UTC'))
            / nullif(sum("count") OVER (PARTITION BY instance_id, shard, block, date_trunc('minute', "timestamp", 'UTC')), 0) AS whole
          FROM %I WHERE span = 0) AS w
    GROUP BY instance_id, shard, block, id, canal, minute
    UNION ALL SELECT * FROM %I WHERE span <> 0$q$, name, name);
  EXECUTE format('ALTER TABLE bloques DETACH PARTITION %I', name);
  EXECUTE format('DROP TABLE %I', name);
  PERFORM corec_attach('bloques', name, since AT TIME ZONE 'UTC', (since + interval '1 month') AT TIME ZONE 'UTC', canales);
  EXECUTE format('INSERT INTO %I SELECT * FROM corec_minutes ORDER BY "timestamp", block', name);
  GET DIAGNOSTICS made = ROW_COUNT;
  DROP TABLE corec_minutes;
  RETURN made;
END $$;
REVOKE EXECUTE ON FUNCTION corec_compact_month FROM PUBLIC;
"""

MIGRATIONS = (_FIRST, _COMPACT)
#: What a writer adds rows to; what it changes rows of; and from which it takes rows away: queues and snapshots.  What is
#: history is only ever added to, and goes by whole partitions.
WRITTEN = ("shards", "blocks", "bloques", "alerts", "bloques_aside", "alerts_aside", "turns", "late", "outbox", "historia",
           "snapshots", "snapshot_heads", "snapshot_segments")  # fmt: skip
CHANGED = ("shards", "blocks", "snapshots")
EMPTIED = ("late", "outbox", "snapshots", "snapshot_heads", "snapshot_segments")
FUNCTIONS = ("corec_make_month", "corec_make_turns", "corec_drop_before", "corec_compact_month")
#: With those that only these call.
ALL_FUNCTIONS = (*FUNCTIONS, "corec_partition_lock", "corec_is_there", "corec_attach", "corec_partitions")
#: The table that says which migrations were applied.
VERSIONS = "corec_schema"
