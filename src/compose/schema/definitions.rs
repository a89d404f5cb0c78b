//! The parts of the table that other parts refer to (see `compose::schema::table`).

use crate::compose::schema::{ARR, BOOL, INT, NULL, NUM, OBJ, Pattern, STR, Schema, of, one_of};

pub(super) static HEALTHCHECK: Schema = of(OBJ)
    .properties(&[
        ("disable", &of(BOOL | STR)),
        ("interval", &of(STR)),
        ("retries", &of(NUM | STR)),
        ("start_interval", &of(STR)),
        ("start_period", &of(STR)),
        ("test", &one_of(&[&of(STR), &of(ARR).items(&of(STR))])),
        ("timeout", &of(STR)),
    ])
    .extensible()
    .closed();

pub(super) static DEVELOPMENT: Schema = of(OBJ | NULL)
    .properties(&[(
        "watch",
        &of(ARR).items(
            &of(OBJ)
                .properties(&[
                    (
                        "action",
                        &of(STR).words(&[
                            "rebuild",
                            "sync",
                            "restart",
                            "sync+restart",
                            "sync+exec",
                        ]),
                    ),
                    ("exec", &SERVICE_HOOK),
                    ("ignore", &STRING_OR_LIST),
                    ("include", &STRING_OR_LIST),
                    ("initial_sync", &of(BOOL)),
                    ("path", &of(STR)),
                    ("target", &of(STR)),
                ])
                .extensible()
                .closed()
                .required(&["path", "action"]),
        ),
    )])
    .extensible()
    .closed();

pub(super) static DEPLOYMENT: Schema = of(OBJ | NULL)
    .properties(&[
        ("endpoint_mode", &of(STR)),
        ("labels", &LIST_OR_DICT),
        ("mode", &of(STR)),
        (
            "placement",
            &of(OBJ)
                .properties(&[
                    ("constraints", &of(ARR).items(&of(STR))),
                    ("max_replicas_per_node", &of(INT | STR)),
                    (
                        "preferences",
                        &of(ARR).items(
                            &of(OBJ)
                                .properties(&[("spread", &of(STR))])
                                .extensible()
                                .closed(),
                        ),
                    ),
                ])
                .extensible()
                .closed(),
        ),
        ("replicas", &of(INT | STR)),
        (
            "resources",
            &of(OBJ)
                .properties(&[
                    (
                        "limits",
                        &of(OBJ)
                            .properties(&[
                                ("cpus", &of(NUM | STR)),
                                ("memory", &of(STR)),
                                ("pids", &of(INT | STR)),
                            ])
                            .extensible()
                            .closed(),
                    ),
                    (
                        "reservations",
                        &of(OBJ)
                            .properties(&[
                                ("cpus", &of(NUM | STR)),
                                ("devices", &DEVICES),
                                ("generic_resources", &GENERIC_RESOURCES),
                                ("memory", &of(STR)),
                            ])
                            .extensible()
                            .closed(),
                    ),
                ])
                .extensible()
                .closed(),
        ),
        (
            "restart_policy",
            &of(OBJ)
                .properties(&[
                    ("condition", &of(STR)),
                    ("delay", &of(STR)),
                    ("max_attempts", &of(INT | STR)),
                    ("window", &of(STR)),
                ])
                .extensible()
                .closed(),
        ),
        (
            "rollback_config",
            &of(OBJ)
                .properties(&[
                    ("delay", &of(STR)),
                    ("failure_action", &of(STR)),
                    ("max_failure_ratio", &of(NUM | STR)),
                    ("monitor", &of(STR)),
                    ("order", &of(STR).words(&["start-first", "stop-first"])),
                    ("parallelism", &of(INT | STR)),
                ])
                .extensible()
                .closed(),
        ),
        (
            "update_config",
            &of(OBJ)
                .properties(&[
                    ("delay", &of(STR)),
                    ("failure_action", &of(STR)),
                    ("max_failure_ratio", &of(NUM | STR)),
                    ("monitor", &of(STR)),
                    ("order", &of(STR).words(&["start-first", "stop-first"])),
                    ("parallelism", &of(INT | STR)),
                ])
                .extensible()
                .closed(),
        ),
    ])
    .extensible()
    .closed();

pub(super) static GENERIC_RESOURCES: Schema = of(ARR).items(
    &of(OBJ)
        .properties(&[(
            "discrete_resource_spec",
            &of(OBJ)
                .properties(&[("kind", &of(STR)), ("value", &of(NUM | STR))])
                .extensible()
                .closed(),
        )])
        .extensible()
        .closed(),
);

pub(super) static DEVICES: Schema = of(ARR).items(
    &of(OBJ)
        .properties(&[
            ("capabilities", &LIST_OF_STRINGS),
            ("count", &of(STR | INT)),
            ("device_ids", &LIST_OF_STRINGS),
            ("driver", &of(STR)),
            ("options", &LIST_OR_DICT),
        ])
        .extensible()
        .closed()
        .required(&["capabilities"]),
);

pub(super) static GPUS: Schema = one_of(&[
    &of(STR).words(&["all"]),
    &of(ARR).extensible().closed().items(&of(OBJ).properties(&[
        ("capabilities", &LIST_OF_STRINGS),
        ("count", &of(STR | INT)),
        ("device_ids", &LIST_OF_STRINGS),
        ("driver", &of(STR)),
        ("options", &LIST_OR_DICT),
    ])),
]);

pub(super) static COMMAND: Schema = one_of(&[&of(NULL), &of(STR), &of(ARR).items(&of(STR))]);

pub(super) static SERVICE_HOOK: Schema = of(OBJ)
    .properties(&[
        ("command", &COMMAND),
        ("environment", &LIST_OR_DICT),
        ("privileged", &of(BOOL | STR)),
        ("user", &of(STR)),
        ("working_dir", &of(STR)),
    ])
    .extensible()
    .closed()
    .required(&["command"]);

pub(super) static PRE_START_HOOK: Schema = of(OBJ)
    .properties(&[
        ("command", &COMMAND),
        ("environment", &LIST_OR_DICT),
        ("image", &of(STR)),
        ("per_replica", &of(BOOL | STR)),
        ("privileged", &of(BOOL | STR)),
        ("user", &of(STR)),
        ("working_dir", &of(STR)),
    ])
    .extensible()
    .closed();

pub(super) static ENV_FILE: Schema = one_of(&[
    &of(STR),
    &of(ARR).items(&one_of(&[
        &of(STR),
        &of(OBJ)
            .properties(&[
                ("format", &of(STR)),
                ("path", &of(STR)),
                ("required", &of(BOOL | STR)),
            ])
            .closed()
            .required(&["path"]),
    ])),
]);

pub(super) static LABEL_FILE: Schema = one_of(&[&of(STR), &of(ARR).items(&of(STR))]);

pub(super) static STRING_OR_LIST: Schema = one_of(&[&of(STR), &LIST_OF_STRINGS]);

pub(super) static LIST_OF_STRINGS: Schema = of(ARR).items(&of(STR)).unique();

pub(super) static LIST_OR_DICT: Schema = one_of(&[
    &of(OBJ)
        .pattern_properties(Pattern::AnyText, &of(STR | NUM | BOOL | NULL))
        .closed(),
    &of(ARR).items(&of(STR)).unique(),
]);

pub(super) static EXTRA_HOSTS: Schema = one_of(&[
    &of(OBJ)
        .pattern_properties(
            Pattern::AnyText,
            &one_of(&[&of(STR), &of(ARR).items(&of(STR))]),
        )
        .closed(),
    &of(ARR).items(&of(STR)).unique(),
]);

pub(super) static BLKIO_LIMIT: Schema = of(OBJ)
    .properties(&[("path", &of(STR)), ("rate", &of(INT | STR))])
    .closed();

pub(super) static BLKIO_WEIGHT: Schema = of(OBJ)
    .properties(&[("path", &of(STR)), ("weight", &of(INT | STR))])
    .closed();

pub(super) static SERVICE_CONFIG_OR_SECRET: Schema = of(ARR).items(&one_of(&[
    &of(STR),
    &of(OBJ)
        .properties(&[
            ("gid", &of(STR)),
            ("mode", &of(NUM | STR)),
            ("source", &of(STR)),
            ("target", &of(STR)),
            ("uid", &of(STR)),
        ])
        .extensible()
        .closed(),
]));

pub(super) static ULIMITS: Schema = of(OBJ).pattern_properties(
    Pattern::Lower,
    &one_of(&[
        &of(INT | STR),
        &of(OBJ)
            .properties(&[("hard", &of(INT | STR)), ("soft", &of(INT | STR))])
            .extensible()
            .closed()
            .required(&["soft", "hard"]),
    ]),
);
