"""What is asked of PostgreSQL. Every statement works for the superuser and, with gaps, for the application's user."""

# An instance calls itself "hecto instance-3"; others have the name of their program or of their user.
_WHO = "coalesce(nullif(regexp_replace(application_name, '^hecto ', ''), ''), usename::text, backend_type)"

# One row of JSON: everything that changes from moment to moment and costs the server next to nothing.
NOW = f"""
WITH a AS MATERIALIZED (
    SELECT *, {_WHO} AS who FROM pg_stat_activity
     WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
), waiting AS MATERIALIZED (
    SELECT a.*, pg_blocking_pids(a.pid) AS blockers FROM a WHERE wait_event_type = 'Lock'
)
SELECT json_build_object(
    'version', split_part(current_setting('server_version'), ' ', 1),
    'replica', pg_is_in_recovery(),
    'started', extract(epoch FROM pg_postmaster_start_time()),
    'most_connections', current_setting('max_connections')::int,
    'sessions', (SELECT coalesce(json_agg(json_build_object('who', who, 'state', state, 'count', count)), '[]')
                   FROM (SELECT who, coalesce(state, 'unknown') AS state, count(*) FROM a
                          GROUP BY 1, 2 ORDER BY 1, 2) AS g),
    'transaction', (SELECT json_build_object('pid', pid, 'who', who, 'state', state, 'id', query_id::text,
                           'text', left(query, 300), 'seconds', extract(epoch FROM clock_timestamp() - xact_start))
                      FROM a WHERE xact_start IS NOT NULL ORDER BY xact_start LIMIT 1),
    'query', (SELECT json_build_object('pid', pid, 'who', who, 'state', state, 'id', query_id::text,
                     'text', left(query, 300), 'seconds', extract(epoch FROM clock_timestamp() - query_start))
                FROM a WHERE state = 'active' ORDER BY query_start LIMIT 1),
    'waiting', (SELECT coalesce(json_agg(json_build_object(
                           'pid', w.pid, 'who', w.who, 'text', left(w.query, 300),
                           'seconds', extract(epoch FROM clock_timestamp() - w.query_start),
                           'blocked_by', (SELECT coalesce(json_agg(json_build_object(
                                                  'pid', p, 'who', coalesce(b.who, '?'), 'state', b.state)), '[]')
                                            FROM unnest(w.blockers) AS p LEFT JOIN a AS b ON b.pid = p))
                           ORDER BY w.query_start), '[]')
                  FROM (SELECT * FROM waiting ORDER BY query_start LIMIT 20) AS w),
    'waiters', (SELECT count(*) FROM waiting),
    'commits', d.commits, 'rollbacks', d.rollbacks, 'hit', d.hit, 'read', d.read, 'deadlocks', d.deadlocks,
    'archiver', (SELECT json_build_object('on', current_setting('archive_mode') <> 'off', 'failed', failed_count,
                        'failing', coalesce(last_failed_time > last_archived_time, last_failed_time IS NOT NULL),
                        'age', extract(epoch FROM clock_timestamp() - last_archived_time))
                   FROM pg_stat_archiver),
    'replicas', (SELECT coalesce(json_agg(json_build_object(
                        'who', application_name, 'state', state, 'sync', sync_state,
                        'seconds', extract(epoch FROM replay_lag), 'bytes', CASE WHEN NOT pg_is_in_recovery() THEN
                            pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn)::bigint END)
                        ORDER BY application_name), '[]')
                   FROM pg_stat_replication),
    -- A primary that is idle sends nothing to replay: what was replayed is then all there is.
    'behind', CASE WHEN pg_is_in_recovery() THEN CASE WHEN pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() THEN 0
        ELSE extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp()) END END
)
  FROM (SELECT sum(xact_commit)::bigint AS commits, sum(xact_rollback)::bigint AS rollbacks,
               sum(blks_hit)::bigint AS hit,
               sum(blks_read)::bigint AS read, sum(deadlocks)::bigint AS deadlocks FROM pg_stat_database) AS d
"""  # noqa: S608  nothing in it comes from outside

# What looks at every file of the database.
SELDOM = """
SELECT json_build_object(
    'size', pg_database_size(current_database()),
    -- Its settings are there when its library is loaded, without which its view fails.
    'statements', current_setting('pg_stat_statements.max', true) IS NOT NULL
                  AND EXISTS (SELECT FROM pg_extension WHERE extname = 'pg_stat_statements'))
"""

# Without their texts, which the server keeps in a file and reads as a whole; and without the superuser's, who looks.
SPENT = """
SELECT queryid, sum(calls)::bigint, sum(total_exec_time) FROM pg_stat_statements(false)
 WHERE queryid IS NOT NULL AND userid IS DISTINCT FROM to_regrole('postgres')::oid
   AND dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
 GROUP BY queryid
"""
TEXTS = "SELECT DISTINCT ON (queryid) queryid, left(query, 300) FROM pg_stat_statements WHERE queryid = ANY(%s)"
