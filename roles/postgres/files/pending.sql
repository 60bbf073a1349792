-- Prints the settings that wait for a restart; nothing if all that is configured is in force.

-- An earlier run may have stopped between writing a file and the reload.
SELECT max((pg_stat_file(name)).modification) > pg_conf_load_time() AS stale
  FROM (SELECT DISTINCT sourcefile FROM pg_file_settings UNION SELECT current_setting('hba_file')) AS files (name) \gset
\if :stale
SELECT pg_reload_conf() AS reloaded, pg_sleep(0.5) AS waited \gset
-- A new session knows what the server has read meanwhile.
\connect
\endif

DO $$
DECLARE
    problem text;
BEGIN
    SELECT string_agg(format('%s, line %s: %s', sourcefile, sourceline, error), '; ') INTO problem
      FROM pg_file_settings WHERE error IS NOT NULL AND error <> 'setting could not be applied';
    IF problem IS NOT NULL THEN
        RAISE EXCEPTION 'PostgreSQL refuses a setting and goes on with the old ones. Correct postgres_settings. %', problem;
    END IF;
    SELECT string_agg(format('pg_hba.conf, line %s: %s', line_number, error), '; ') INTO problem
      FROM pg_hba_file_rules WHERE error IS NOT NULL;
    IF problem IS NOT NULL THEN
        RAISE EXCEPTION 'PostgreSQL refuses an access rule and goes on with the old ones. Correct postgres_client_networks. %', problem;
    END IF;
END $$;

SELECT name FROM pg_settings WHERE pending_restart ORDER BY name;
