//! The structure of a Compose file, as a table: every attribute, its types, its words. Follows the
//! JSON schema of the specification (`fixtures/compose/compose-spec.json`, compared by a test); the
//! checking is `compose::schema`'s.

use crate::compose::schema::definitions::{
    BLKIO_LIMIT, BLKIO_WEIGHT, COMMAND, DEPLOYMENT, DEVELOPMENT, ENV_FILE, EXTRA_HOSTS, GPUS,
    HEALTHCHECK, LABEL_FILE, LIST_OF_STRINGS, LIST_OR_DICT, PRE_START_HOOK,
    SERVICE_CONFIG_OR_SECRET, SERVICE_HOOK, STRING_OR_LIST, ULIMITS,
};
use crate::compose::schema::{ARR, BOOL, INT, NULL, NUM, OBJ, Pattern, STR, Schema, of, one_of};

/// The whole file.
pub(super) static ROOT: Schema = of(OBJ)
    .properties(&[
        (
            "configs",
            &of(OBJ).pattern_properties(Pattern::Name, &CONFIG).closed(),
        ),
        ("include", &of(ARR).items(&INCLUDE)),
        ("models", &of(OBJ).pattern_properties(Pattern::Name, &MODEL)),
        ("name", &of(STR)),
        (
            "networks",
            &of(OBJ).pattern_properties(Pattern::Name, &NETWORK),
        ),
        (
            "secrets",
            &of(OBJ).pattern_properties(Pattern::Name, &SECRET).closed(),
        ),
        (
            "services",
            &of(OBJ).pattern_properties(Pattern::Name, &SERVICE).closed(),
        ),
        ("version", &of(STR)),
        (
            "volumes",
            &of(OBJ).pattern_properties(Pattern::Name, &VOLUME).closed(),
        ),
    ])
    .extensible()
    .closed();

static SERVICE: Schema = of(OBJ)
    .properties(&[
        ("annotations", &LIST_OR_DICT),
        ("attach", &of(BOOL | STR)),
        (
            "blkio_config",
            &of(OBJ)
                .properties(&[
                    ("device_read_bps", &of(ARR).items(&BLKIO_LIMIT)),
                    ("device_read_iops", &of(ARR).items(&BLKIO_LIMIT)),
                    ("device_write_bps", &of(ARR).items(&BLKIO_LIMIT)),
                    ("device_write_iops", &of(ARR).items(&BLKIO_LIMIT)),
                    ("weight", &of(INT | STR)),
                    ("weight_device", &of(ARR).items(&BLKIO_WEIGHT)),
                ])
                .closed(),
        ),
        (
            "build",
            &one_of(&[
                &of(STR),
                &of(OBJ)
                    .properties(&[
                        ("additional_contexts", &LIST_OR_DICT),
                        ("args", &LIST_OR_DICT),
                        ("cache_from", &of(ARR).items(&of(STR))),
                        ("cache_to", &of(ARR).items(&of(STR))),
                        ("context", &of(STR)),
                        ("dockerfile", &of(STR)),
                        ("dockerfile_inline", &of(STR)),
                        ("entitlements", &of(ARR).items(&of(STR))),
                        ("extra_hosts", &EXTRA_HOSTS),
                        ("isolation", &of(STR)),
                        ("labels", &LIST_OR_DICT),
                        ("network", &of(STR)),
                        ("no_cache", &of(BOOL | STR)),
                        ("no_cache_filter", &STRING_OR_LIST),
                        ("platforms", &of(ARR).items(&of(STR))),
                        ("privileged", &of(BOOL | STR)),
                        ("provenance", &of(STR | BOOL)),
                        ("pull", &of(BOOL | STR)),
                        ("sbom", &of(STR | BOOL)),
                        ("secrets", &SERVICE_CONFIG_OR_SECRET),
                        ("shm_size", &of(INT | STR)),
                        ("ssh", &LIST_OR_DICT),
                        ("tags", &of(ARR).items(&of(STR))),
                        ("target", &of(STR)),
                        ("ulimits", &ULIMITS),
                    ])
                    .extensible()
                    .closed(),
            ]),
        ),
        ("cap_add", &of(ARR).items(&of(STR)).unique()),
        ("cap_drop", &of(ARR).items(&of(STR)).unique()),
        ("cgroup", &of(STR).words(&["host", "private"])),
        ("cgroup_parent", &of(STR)),
        ("command", &COMMAND),
        ("configs", &SERVICE_CONFIG_OR_SECRET),
        ("container_name", &of(STR).pattern(Pattern::ContainerName)),
        ("cpu_count", &one_of(&[&of(STR), &of(INT).minimum(0)])),
        (
            "cpu_percent",
            &one_of(&[&of(STR), &of(INT).minimum(0).maximum(100)]),
        ),
        ("cpu_period", &of(NUM | STR)),
        ("cpu_quota", &of(NUM | STR)),
        ("cpu_rt_period", &of(NUM | STR)),
        ("cpu_rt_runtime", &of(NUM | STR)),
        ("cpu_shares", &of(NUM | STR)),
        ("cpus", &of(NUM | STR)),
        ("cpuset", &of(STR)),
        (
            "credential_spec",
            &of(OBJ)
                .properties(&[
                    ("config", &of(STR)),
                    ("file", &of(STR)),
                    ("registry", &of(STR)),
                ])
                .extensible()
                .closed(),
        ),
        (
            "depends_on",
            &one_of(&[
                &LIST_OF_STRINGS,
                &of(OBJ)
                    .pattern_properties(
                        Pattern::Name,
                        &of(OBJ)
                            .properties(&[
                                (
                                    "condition",
                                    &of(STR).words(&[
                                        "service_started",
                                        "service_healthy",
                                        "service_completed_successfully",
                                    ]),
                                ),
                                ("required", &of(BOOL)),
                                ("restart", &of(BOOL | STR)),
                            ])
                            .extensible()
                            .closed()
                            .required(&["condition"]),
                    )
                    .closed(),
            ]),
        ),
        ("deploy", &DEPLOYMENT),
        ("develop", &DEVELOPMENT),
        ("device_cgroup_rules", &LIST_OF_STRINGS),
        (
            "devices",
            &of(ARR).items(&one_of(&[
                &of(STR),
                &of(OBJ)
                    .properties(&[
                        ("permissions", &of(STR)),
                        ("source", &of(STR)),
                        ("target", &of(STR)),
                    ])
                    .extensible()
                    .closed()
                    .required(&["source"]),
            ])),
        ),
        ("dns", &STRING_OR_LIST),
        ("dns_opt", &of(ARR).items(&of(STR)).unique()),
        ("dns_search", &STRING_OR_LIST),
        ("domainname", &of(STR)),
        ("entrypoint", &COMMAND),
        ("env_file", &ENV_FILE),
        ("environment", &LIST_OR_DICT),
        ("expose", &of(ARR).items(&of(STR | NUM)).unique()),
        (
            "extends",
            &one_of(&[
                &of(STR),
                &of(OBJ)
                    .properties(&[("file", &of(STR)), ("service", &of(STR))])
                    .closed()
                    .required(&["service"]),
            ]),
        ),
        ("external_links", &of(ARR).items(&of(STR)).unique()),
        ("extra_hosts", &EXTRA_HOSTS),
        ("gpus", &GPUS),
        ("group_add", &of(ARR).items(&of(STR | NUM)).unique()),
        ("healthcheck", &HEALTHCHECK),
        ("hostname", &of(STR)),
        ("image", &of(STR)),
        ("init", &of(BOOL | STR)),
        ("ipc", &of(STR)),
        ("isolation", &of(STR)),
        ("label_file", &LABEL_FILE),
        ("labels", &LIST_OR_DICT),
        ("links", &of(ARR).items(&of(STR)).unique()),
        (
            "logging",
            &of(OBJ)
                .properties(&[
                    ("driver", &of(STR)),
                    (
                        "options",
                        &of(OBJ).pattern_properties(Pattern::AnyText, &of(STR | NUM | NULL)),
                    ),
                ])
                .extensible()
                .closed(),
        ),
        ("mac_address", &of(STR)),
        ("mem_limit", &of(NUM | STR)),
        ("mem_reservation", &of(STR | INT)),
        ("mem_swappiness", &of(INT | STR)),
        ("memswap_limit", &of(NUM | STR)),
        (
            "models",
            &one_of(&[
                &LIST_OF_STRINGS,
                &of(OBJ).pattern_properties(
                    Pattern::Name,
                    &one_of(&[
                        &of(OBJ)
                            .properties(&[("endpoint_var", &of(STR)), ("model_var", &of(STR))])
                            .extensible()
                            .closed(),
                        &of(NULL),
                    ]),
                ),
            ]),
        ),
        ("network_mode", &of(STR)),
        (
            "networks",
            &one_of(&[
                &LIST_OF_STRINGS,
                &of(OBJ)
                    .pattern_properties(
                        Pattern::Name,
                        &one_of(&[
                            &of(OBJ)
                                .properties(&[
                                    ("aliases", &LIST_OF_STRINGS),
                                    (
                                        "driver_opts",
                                        &of(OBJ)
                                            .pattern_properties(Pattern::AnyText, &of(STR | NUM)),
                                    ),
                                    ("gw_priority", &of(NUM)),
                                    ("interface_name", &of(STR)),
                                    ("ipv4_address", &of(STR)),
                                    ("ipv6_address", &of(STR)),
                                    ("link_local_ips", &LIST_OF_STRINGS),
                                    ("mac_address", &of(STR)),
                                    ("priority", &of(NUM)),
                                ])
                                .extensible()
                                .closed(),
                            &of(NULL),
                        ]),
                    )
                    .closed(),
            ]),
        ),
        ("oom_kill_disable", &of(BOOL | STR)),
        (
            "oom_score_adj",
            &one_of(&[&of(STR), &of(INT).minimum(-1000).maximum(1000)]),
        ),
        ("pid", &of(STR | NULL)),
        ("pids_limit", &of(NUM | STR)),
        ("platform", &of(STR)),
        (
            "ports",
            &of(ARR)
                .items(&one_of(&[
                    &of(NUM),
                    &of(STR),
                    &of(OBJ)
                        .properties(&[
                            ("app_protocol", &of(STR)),
                            ("host_ip", &of(STR)),
                            ("mode", &of(STR)),
                            ("name", &of(STR)),
                            ("protocol", &of(STR)),
                            ("published", &of(STR | INT)),
                            ("target", &of(INT | STR)),
                        ])
                        .extensible()
                        .closed(),
                ]))
                .unique(),
        ),
        ("post_start", &of(ARR).items(&SERVICE_HOOK)),
        ("pre_start", &of(ARR).items(&PRE_START_HOOK)),
        ("pre_stop", &of(ARR).items(&SERVICE_HOOK)),
        ("privileged", &of(BOOL | STR)),
        ("profiles", &LIST_OF_STRINGS),
        (
            "provider",
            &of(OBJ)
                .properties(&[
                    (
                        "options",
                        &of(OBJ).pattern_properties(
                            Pattern::AnyText,
                            &one_of(&[
                                &of(STR | NUM | BOOL),
                                &of(ARR).items(&of(STR | NUM | BOOL)),
                            ]),
                        ),
                    ),
                    ("type", &of(STR)),
                ])
                .extensible()
                .closed()
                .required(&["type"]),
        ),
        ("pull_policy", &of(STR).pattern(Pattern::PullPolicy)),
        ("pull_refresh_after", &of(STR)),
        ("read_only", &of(BOOL | STR)),
        ("restart", &of(STR)),
        ("runtime", &of(STR)),
        ("scale", &of(INT | STR)),
        ("secrets", &SERVICE_CONFIG_OR_SECRET),
        ("security_opt", &of(ARR).items(&of(STR)).unique()),
        ("shm_size", &of(NUM | STR)),
        ("stdin_open", &of(BOOL | STR)),
        ("stop_grace_period", &of(STR)),
        ("stop_signal", &of(STR)),
        ("storage_opt", &of(OBJ)),
        ("sysctls", &LIST_OR_DICT),
        ("tmpfs", &STRING_OR_LIST),
        ("tty", &of(BOOL | STR)),
        ("ulimits", &ULIMITS),
        ("use_api_socket", &of(BOOL)),
        ("user", &of(STR)),
        ("userns_mode", &of(STR)),
        ("uts", &of(STR)),
        (
            "volumes",
            &of(ARR)
                .items(&one_of(&[
                    &of(STR),
                    &of(OBJ)
                        .properties(&[
                            (
                                "bind",
                                &of(OBJ)
                                    .properties(&[
                                        ("create_host_path", &of(BOOL | STR)),
                                        ("propagation", &of(STR)),
                                        (
                                            "recursive",
                                            &of(STR).words(&[
                                                "enabled", "disabled", "writable", "readonly",
                                            ]),
                                        ),
                                        ("selinux", &of(STR).words(&["z", "Z"])),
                                    ])
                                    .extensible()
                                    .closed(),
                            ),
                            ("consistency", &of(STR)),
                            (
                                "image",
                                &of(OBJ)
                                    .properties(&[("subpath", &of(STR))])
                                    .extensible()
                                    .closed(),
                            ),
                            ("read_only", &of(BOOL | STR)),
                            ("source", &of(STR)),
                            ("target", &of(STR)),
                            (
                                "tmpfs",
                                &of(OBJ)
                                    .properties(&[
                                        ("mode", &of(NUM | STR)),
                                        ("size", &one_of(&[&of(INT).minimum(0), &of(STR)])),
                                    ])
                                    .extensible()
                                    .closed(),
                            ),
                            (
                                "type",
                                &of(STR).words(&[
                                    "bind", "volume", "tmpfs", "cluster", "npipe", "image",
                                ]),
                            ),
                            (
                                "volume",
                                &of(OBJ)
                                    .properties(&[
                                        ("labels", &LIST_OR_DICT),
                                        ("nocopy", &of(BOOL | STR)),
                                        ("subpath", &of(STR)),
                                    ])
                                    .extensible()
                                    .closed(),
                            ),
                        ])
                        .extensible()
                        .closed()
                        .required(&["type"]),
                ]))
                .unique(),
        ),
        ("volumes_from", &of(ARR).items(&of(STR)).unique()),
        ("working_dir", &of(STR)),
    ])
    .extensible()
    .closed();

static INCLUDE: Schema = one_of(&[
    &of(STR),
    &of(OBJ)
        .properties(&[
            ("env_file", &STRING_OR_LIST),
            ("path", &STRING_OR_LIST),
            ("project_directory", &of(STR)),
        ])
        .closed(),
]);

static NETWORK: Schema = of(OBJ | NULL)
    .properties(&[
        ("attachable", &of(BOOL | STR)),
        ("driver", &of(STR)),
        (
            "driver_opts",
            &of(OBJ).pattern_properties(Pattern::AnyText, &of(STR | NUM)),
        ),
        ("enable_ipv4", &of(BOOL | STR)),
        ("enable_ipv6", &of(BOOL | STR)),
        (
            "external",
            &of(BOOL | STR | OBJ)
                .properties(&[("name", &of(STR))])
                .extensible()
                .closed(),
        ),
        ("internal", &of(BOOL | STR)),
        (
            "ipam",
            &of(OBJ)
                .properties(&[
                    (
                        "config",
                        &of(ARR).items(
                            &of(OBJ)
                                .properties(&[
                                    (
                                        "aux_addresses",
                                        &of(OBJ)
                                            .pattern_properties(Pattern::AnyText, &of(STR))
                                            .closed(),
                                    ),
                                    ("gateway", &of(STR)),
                                    ("ip_range", &of(STR)),
                                    ("subnet", &of(STR)),
                                ])
                                .extensible()
                                .closed(),
                        ),
                    ),
                    ("driver", &of(STR)),
                    (
                        "options",
                        &of(OBJ)
                            .pattern_properties(Pattern::AnyText, &of(STR))
                            .closed(),
                    ),
                ])
                .extensible()
                .closed(),
        ),
        ("labels", &LIST_OR_DICT),
        ("name", &of(STR)),
    ])
    .extensible()
    .closed();

static VOLUME: Schema = of(OBJ | NULL)
    .properties(&[
        ("driver", &of(STR)),
        (
            "driver_opts",
            &of(OBJ).pattern_properties(Pattern::AnyText, &of(STR | NUM)),
        ),
        (
            "external",
            &of(BOOL | STR | OBJ)
                .properties(&[("name", &of(STR))])
                .extensible()
                .closed(),
        ),
        ("labels", &LIST_OR_DICT),
        ("name", &of(STR)),
    ])
    .extensible()
    .closed();

static SECRET: Schema = of(OBJ)
    .properties(&[
        ("driver", &of(STR)),
        (
            "driver_opts",
            &of(OBJ).pattern_properties(Pattern::AnyText, &of(STR | NUM)),
        ),
        ("environment", &of(STR)),
        (
            "external",
            &of(BOOL | STR | OBJ).properties(&[("name", &of(STR))]),
        ),
        ("file", &of(STR)),
        ("labels", &LIST_OR_DICT),
        ("name", &of(STR)),
        ("template_driver", &of(STR)),
    ])
    .extensible()
    .closed();

static CONFIG: Schema = of(OBJ)
    .properties(&[
        ("content", &of(STR)),
        ("environment", &of(STR)),
        (
            "external",
            &of(BOOL | STR | OBJ).properties(&[("name", &of(STR))]),
        ),
        ("file", &of(STR)),
        ("labels", &LIST_OR_DICT),
        ("name", &of(STR)),
        ("template_driver", &of(STR)),
    ])
    .extensible()
    .closed();

static MODEL: Schema = of(OBJ)
    .properties(&[
        ("context_size", &of(INT)),
        ("model", &of(STR)),
        ("name", &of(STR)),
        ("runtime_flags", &of(ARR).items(&of(STR))),
    ])
    .extensible()
    .closed()
    .required(&["model"]);
