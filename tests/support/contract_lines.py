"""The contract with those who know the original documentation, line by line, and the tests that fail when a line is broken.

A test is `file::test` without folder, `test_` and `.py`; one without a file is in test_contract.py.
"""

LINES = {
    "configuration": {
        "both files parse as printed":
            "config::documented_configuration_reads_as_printed config::documented_configuration_is_the_printed_text "
            "config_plugins::documented_file_reads_as_printed",
        "port is text or a number":
            "config_servers::port_is_a_number_or_a_string config_servers::port_at_either_end_is_accepted "
            "config_servers::port_that_is_none_is_refused",
        "an empty username is none": "config_servers::empty_user_is_none",
        "accented names in any Unicode form":
            "config::every_spelling_of_a_module_is_one_module config::every_spelling_of_a_role_is_one_role "
            "config_blocks::one_name_in_two_unicode_forms_is_one_name",
        "keys of plugins that are not installed": "config_plugins::keys_of_plugins_that_are_not_installed_are_never_refused",
        "unknown keys are refused with a suggestion": "config_problem::typo_of_each_key_is_refused_with_the_key_that_was_meant",
        "placeholders are refused by name":
            "config_servers::documented_file_is_refused_by_its_placeholder config_servers::both_placeholders_are_found",
        "--embedded ignores both servers": "config_servers::embedded_ignores_both_sections_whatever_they_hold",
        "blocks are <entry>/<index>": "blocks_are_named_by_entry_and_index",
        "wire ids: contiguous, in order, stable": "config::wire_ids_are_contiguous_in_the_order_of_the_entries",
        "corec check prints the wire ids": "cli::check_shows_blocks_ids_and_the_price",
        "ids of registered blocks come after and are kept":
            "plugins::documented_plugin_runs_unchanged registered_blocks::entities_are_found_again_by_name",
        "ids are never reused": "ids_are_never_reused",
        "ids from a CSV of devices": "device_table::rows_become_columns_in_their_order",
        "limits of a CSV alert without a plugin":
            "limits_of_a_device_table_alert_without_a_plugin other_limits_in_a_device_table_leave_its_sensors_as_they_are",
        "silence of a sensor that was heard alerts": "silence_of_a_sensor_that_was_heard_alerts",
        "autoreparacion: 0.05 and 0.2": "config::default_of_an_entry",
        "a block is weak below its own min_fitness":
            "fusion::weak_block_joins_a_strong_one fusion::weak_is_below_its_own_min_fitness_and_strong_above_a_half "
            "modules::min_fitness_of_its_own_makes_a_block_weak",
        "a host is above 0.5":
            "fusion::host_has_to_be_strong fusion::weak_is_below_its_own_min_fitness_and_strong_above_a_half",
        "entidades_por_bloque: 1,000, or 2,000 with a plugin": "config::default_of_an_entry config::default_of_an_entry_with_a_plugin",
        "max_size_mb bounds a block": "config_blocks::block_that_its_entities_overflow_is_refused_with_the_arithmetic",
        "an absent plugin leaves plain blocks, with a warning": "absent_plugin_leaves_plain_blocks_and_a_warning",
        "modules says which run": "module_of_ones_own_is_loaded_and_its_hooks_are_called",
        "registro always runs": "config::registro_always_runs",
        "a file with a ModuloBase, or an entry point, loads":
            "module_of_ones_own_is_loaded_and_its_hooks_are_called config_advice::file_and_entry_point_make_a_module_known",
        "rol sensor: no auditoria": "sensor_runs_no_auditoria",
        "anomalies of blocks, by auditoria":
            "audit::scores_and_alerts_are_the_oracles audit::shift_of_a_block_scores_and_alerts_once_a_burst "
            "audit::node_tells_of_an_anomaly",
        "max_ram_mb is 1024": "config::default_of_the_node",
        "retention in days, minutes from seconds, 200 MB":
            "store::old_rows_go store::windows_become_minutes_and_nothing_is_counted_twice "
            "store::the_file_stays_within_its_bound",
        "plugins_config.json wins key by key": "plugins::global_configuration_wins_key_by_key config_plugins::global_file_wins_key_by_key",
        "enabled: false in either file, with a log line":
            "plugins::disabled_plugin_is_skipped_and_said disabled_in_the_global_file_is_said "
            "config_plugins::either_file_disables",
        "a missing file is {}":
            "config::folder_without_plugins_file_has_no_plugin_configuration "
            "config_plugins::own_file_of_a_plugin_is_read_and_may_be_missing",
    },
    "entities and blocks": {
        "crear_entidad gives a Micro, with procesador= a Celu":
            "entities::function_makes_a_micro_that_unpacks_as_the_documented_tuple "
            "entities::processor_makes_a_celu_that_unpacks_as_the_documented_tuple",
        "both index as the documented tuple": "entities::entity_indexes_as_the_documented_tuple",
        "an id is text, unique in its block":
            "entities::wrong_id_is_refused blocks::duplicate_entity_id_is_refused two_blocks_may_have_the_same_names",
        "a processor has a state of its own": "entities::each_celu_has_a_state_of_its_own",
        "None filters a value out": "blocks::none_filters_a_value_out_of_the_pass",
        "a function gives a number or a mapping, or is a coroutine function of such": "functions::function_gives_a_number_or_a_mapping",
        "at most 1 KB for a Micro, 1.5 KB for a Celu": "entities::entity_costs_no_more_than_documented",
        "BloqueSimbiotico(id, canal, entidades, max_size, nucleus)": "blocks::block_is_made_as_documented",
        "max_size in KB, one an entity; too many are refused": "blocks::entity_counts_one_kilobyte",
        "a block works detached": "blocks::block_works_detached_from_a_node",
        "procesar(carga), carga in [0, 1]": "blocks::load_outside_0_to_1_is_refused blocks::load_from_0_to_1_is_taken",
        "always mensajes: a mapping for each entity":
            "blocks::result_has_a_mapping_for_each_entity blocks::whatever_a_function_gives_procesar_does_not_raise",
        "mensajes are lazy": "blocks::messages_are_made_when_they_are_looked_at",
        "valor is a Python float": "blocks::values_are_python_floats_of_full_precision",
        "activo is health, emitido whether it passed": "blocks::emitido_is_whether_it_passed_the_filter_and_activo_is_health",
        "regenerated is not active before its next good reading, and in vain is not at once again":
            "blocks::reparar_regenerates_however_few blocks::regeneration_that_did_not_help_waits_unless_it_is_ordered "
            "model::other_entities_are_regenerated_while_a_dead_one_waits model::hibernated_dead_sensors_are_let_sleep",
        "prefix + number is arithmetic, other names stand in a table":
            "numbered_names_are_arithmetic_and_others_stand_in_a_table",
        "names are found again":
            "registered_blocks::entities_are_found_again_by_name registered_blocks::block_that_is_not_what_it_was_is_refused",
        "fused entities keep ids and place": "fusion::weak_block_joins_a_strong_one fusion::undo_gives_back_what_was_taken",
        "a function that raises, hangs, gives text, None or NaN":
            "blocks::whatever_a_function_gives_procesar_does_not_raise "
            "awaiting::coroutine_that_never_ends_is_cancelled_and_has_failed functions::what_is_no_number_is_said",
        "C function pointers":
            "functions::ctypes_function_gets_the_time_of_the_pass functions::numba_cfunc_is_called_natively "
            "functions::scipy_low_level_callable_is_called_natively functions::capsules_are_taken_by_their_signature "
            "functions::ctypes_function_of_another_signature_is_refused functions::capsule_of_another_signature_is_refused",
        "two failures restart an entity": "blocks::two_failures_in_a_row_restart_a_celu block_model::two_failures_restart_an_entity",
        "more than max_errores are regenerated":
            "blocks::more_failing_than_max_errores_are_regenerated blocks::as_many_failing_as_max_errores_are_not "
            "sensors_are_regenerated_above_max_errores_only",
    },
    "repair, fusion, maintenance": {
        "failing entities inherit from the fittest healthy one":
            "blocks::regenerated_celu_inherits_function_and_processor_but_no_state "
            "fusion::faulty_entities_inherit_from_the_fittest fusion::fittest_neighbour_is_the_one_with_the_lowest_error_level",
        "a dead sensor is told of once": "model::dead_sensor_in_a_small_block_is_told_once_and_regenerated_less_and_less_often",
        "fitness is in [0, 1] and falls when errors rise": "block_model::fitness_falls_whenever_errors_rise",
        "fusions are in the history, and undone after a restart":
            "fusion_node::fusion_is_in_the_history_and_survives_restarts fusion_node::commands_that_users_type",
        "readings that arrive meanwhile count once": "fusion::readings_that_arrive_during_a_fusion_and_its_undoing_count_once",
        "the last block of a channel stays": "fusion::last_block_of_a_channel_is_never_fused_away",
        "fusion is within a channel and a shard":
            "fusion::fusion_that_may_not_be_is_refused_and_changes_nothing fusion::block_of_another_shard_is_no_host",
        "a host holds twice entidades_por_bloque at most": "fusion::fusion_that_may_not_be_is_refused_and_changes_nothing",
        "sincronizacion proposes them by fitness and load":
            "modules::block_weak_for_windows_on_end_joins_the_strongest modules::load_lengthens_the_wait",
        "all of it replays exactly": "fusion::programs_of_commands_and_readings_are_as_the_oracle_says",
        "alerts are muted and acknowledged":
            "maintenance::node_stores_muted_alerts_and_tells_nobody maintenance::alerts_are_acknowledged_by_number",
    },
    "plugins": {
        "plugins/*/main.py, sorted, each under a name of its own": "plugins_load_in_order_under_names_of_their_own",
        "inicializar(nucleus, config), plain or async": "entry_point_may_be_async plugins::plugin_gets_what_was_committed",
        "its absence is an error that names it": "plugins::bad_plugin_is_named_and_the_others_go_on",
        "a plugin without procesar is refused by name": "plugins::bad_plugin_is_named_and_the_others_go_on",
        "registrar_plugin only records": "plugin_is_initialised_when_all_modules_run_and_all_plugins_are_recorded",
        "inicializar() has a time limit":
            "bad_plugins::plugin_that_blocks_its_start_is_left_behind bad_plugins::start_that_never_ends_is_timed_out",
        "one that fails three times in a row is suspended for 10 s, then longer":
            "plugins::plugin_that_fails_is_suspended bad_plugins::plugin_that_hangs_is_timed_out_and_retried",
        "a plugin whose inicializar fails is never passed to": "plugins::plugin_whose_start_fails_is_never_passed_to",
        "two plugins of a name, two blocks of an id":
            "plugins::second_plugin_of_a_name_is_refused plugins::block_that_cannot_be_registered",
        "modulos is a mapping, bloques a mutable one": "modulos_is_a_mapping_and_bloques_a_mutable_one",
        "assigning attaches: ids, admission, log line; deleting detaches":
            "plugins::block_that_cannot_be_registered registered_blocks::detached_block_is_gone_until_it_comes_again",
        "key and id agree": "plugins::block_that_cannot_be_registered",
        "procesar(datos, carga) each pass": "plugins::plugin_gets_what_was_committed",
        "intervalo; never overlapping itself": "passes_come_at_their_interval_and_never_overlap",
        "what procesar returns is not stored": "bad_plugins::whatever_procesar_returns_is_no_failure",
        "a block that its plugin steps is not stepped by the node": "values_of_a_block_that_its_plugin_steps_count_once",
        "a block that nobody steps is": "plugins::registered_block_is_stepped_by_the_node",
        "corec.core exports": "core::modules_that_the_documented_plugin_imports core::all_names_are_there",
        "serializar and deserializar, 10 bytes": "core::frame_is_ten_bytes_and_comes_back",
        "celery_app on first use": "core::import_of_the_door_does_not_import_celery core::celery_app_is_made_on_first_use_and_once",
        "enviar_mensaje_redis: field m, bounded, critical first":
            "core::message_goes_into_field_m_of_a_bounded_stream core::message_by_a_nodes_own_client_goes_along_with_a_commit",
        "streams that are inputs are refused": "core::stream_that_is_an_input_is_refused",
        "what is sent in a pass leaves with the commit, on Redis too":
            "redis_node::what_plugins_send_leaves_with_the_commit_and_their_client_is_real",
        "RAM, CPU and bytes of each beside the targets":
            "status_plugins::running_node_shows_what_plugins_cost bad_plugins::meter_does_not_charge_for_waiting "
            "isolated_plugins::child_gets_what_was_committed bad_plugins::plugin_that_floods_is_cut_and_told_of_once "
            "docs_plugins::first_plugin_runs_as_it_is_printed",
        "a plugin that blocks may have a process of its own":
            "isolated_plugins::documented_plugin_runs_in_a_process_of_its_own "
            "isolated_plugins::database_of_its_own_works_from_a_process_of_its_own isolated_plugins::child_gives_way_to_the_node",
        "one that spins in the node does not keep it from its turns": "bad_plugins::threads_take_short_turns_while_a_plugin_spins",
        "redis_client is never None": "plugins::client_has_streams_and_names_the_setting_for_the_rest",
        "a base of its own": "plugin_base::statements_and_rows",
        "[Name] message at INFO": "status_view::log_records_begin_with_a_name documented_log_lines_are_printed",
    },
    "servers": {
        "Redis that is not there stops no ingest": "redis_faults::readings_wait_while_redis_is_away_and_drain_when_it_is_back",
        "PostgreSQL that is not there stops no ingest":
            "postgres_node::start_without_the_server_takes_readings_and_goes_on_when_it_comes "
            "postgres_node::server_stopped_and_started_again",
        "a wrong password is said at once": "postgres_store::a_wrong_password_or_database_is_no_matter_of_waiting",
        "the table bloques in PostgreSQL": "postgres_store::people_find_the_documented_columns",
        "partitions by time and channel":
            "postgres_store::channels_have_partitions_of_their_own_where_configured postgres_store::old_months_are_dropped_whole",
        "rol analisis: its workers take no sensor shards": "workers::long_work_is_done_by_workers_without_shards",
        "several nodes and workers share a fleet":
            "workers::two_workers_share_the_shards workers::shards_of_a_killed_worker_move_and_the_others_go_on",
        "run.sh and setup.sh":
            "deployment_scripts::run_starts_restarts_and_stops "
            "deployment_scripts::setup_and_run_with_both_servers_twice_without_harm",
        "services, a cluster on 7000-7005, a replica on 5433":
            "deployment::the_services_of_the_documentation_start_by_themselves deployment::profiles_bring_a_cluster_of_six_and_a_replica",
        "localhost means other hosts in containers": "deployment::a_container_finds_its_servers_by_other_names",
        "one source of each password":
            "config_servers::password_has_one_source deployment::every_server_wants_a_password_that_stands_in_one_file",
        "requirements.txt": "deployment::requirements_are_the_dependencies",
    },
    "streams": {
        "what several threads hand in counts once": "node::every_batch_of_many_threads_counts_once",
        "inputs: corec:in, {sNN}:in and :fast":
            "redis_node::bare_stream_takes_bare_frames_and_batches_of_devices redis_node::batches_are_folded_and_committed",
        "a block or plugin subscribes to any":
            "subscriptions::inputs_and_outputs_reach_their_subscribers "
            "subscriptions::plugin_and_its_block_hear_what_others_say subscriptions::stream_of_a_plugin_is_told_once_it_is_committed",
        "outputs: corec:messages:<canal>, corec:alerts": "store::messages_and_alerts_go_to_their_streams_as_frames",
    },
    "names and commands of the documentation": {
        "python -m tests.test_corec": "corec::documented_figures_hold figure_whose_server_is_missing_is_not_run",
        "the table bloques and its columns": "store::documented_view_of_blocks",
        "the plugin of section 7.2, unchanged":
            "plugins::documented_plugin_runs_unchanged",
        "classes and functions": "documented_name_is_there",
        "modules of the nucleus": "config_advice::modules_of_the_design_are_known_by_every_spelling documented_name_is_there",
        "the log lines that it tells people to look for": "documented_log_lines_are_printed",
        "celery -A corec.core.celery_app": "core::real_celery_finds_the_app",
    },
    "where CoreC departs": {
        "channels 128 to 255 are rejected by name":
            "core::wrong_parts_are_refused core::bytes_that_are_no_frame_are_refused entities::wrong_channel_is_refused_by_name",
        "zstd from 64 frames on": "wire::zstd_from_64_frames_on",
        "Python 3.11": "python_is_3_11_or_newer",
        "a Celery message carries a shard's turns": "worker_parts::each_worker_has_two_turns_waiting",
        "with Celery, plugins and blocks with functions stay in the node; plain shards travel":
            "workers::plugins_and_their_blocks_stay_in_the_node_and_plain_shards_travel",
    },
    "its section 9": {
        "No module named corec.modules": "modules_are_a_package_with_an_empty_init",
        "a plugin does not load":
            "plugins::bad_plugin_is_named_and_the_others_go_on plugins::broken_plugin_configuration_is_named "
            "plugins::disabled_plugin_is_skipped_and_said",
        "Redis ConnectionError, PostgreSQL OperationalError": "servers_that_do_not_answer_are_named_with_what_to_do",
        "RAM beyond 1 GB":
            "beyond_its_ram_a_node_says_how_many_entities_too_many "
            "ram_price::refusal_carries_the_arithmetic_and_the_way_out",
        "worker_concurrency = 2": "workers_are_two",
    },
}  # fmt: skip
