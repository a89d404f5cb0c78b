//! Golden tests of plans: `fixtures/plan/<case>/` holds the project (`compose.yaml`), what was up
//! before (`before.yaml`, made into an observed state here), the choices (`options`), and the plan
//! that must come out (`plan.txt`). `HOIST_UPDATE_FIXTURES=1` writes the plans anew. No engine.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::compose::model::{Mapping, Project, Service, network_json};
use crate::compose::{LoadOptions, Loaded, load};
use crate::labels;
use crate::ops::selection;
use crate::plan::config_hash::{
    hash, network_hash, service_config, volume_hash, with_container_references,
};
use crate::plan::observed::{
    ContainerState, Health, Observed, ObservedContainer, ObservedImage, ObservedMount,
    ObservedNetwork, ObservedVolume,
};
use crate::plan::teardown::{self, RemoveImages};
use crate::plan::{Desired, Goal, Limits, Location, Plan, ReconcileOptions, Recreate, reconcile};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/plan")
}

fn loaded(folder: &Path, file: &str) -> Loaded {
    let mut options = LoadOptions::new(folder.to_path_buf(), Mapping::new());
    options.files = vec![file.to_owned()];
    options.project_name = Some("p".to_owned());
    load(&options).unwrap_or_else(|error| panic!("{}/{file}: {error}", folder.display()))
}

fn digest(image: &str) -> String {
    format!("sha256:{}", hash(image))
}

/// The choices of a case: words by their first word.
struct Choices(Vec<Vec<String>>);

impl Choices {
    fn read(folder: &Path) -> Choices {
        let text = std::fs::read_to_string(folder.join("options")).unwrap_or_default();
        Choices(
            text.lines()
                .filter(|line| !line.trim().is_empty() && !line.starts_with('#'))
                .map(|line| line.split_whitespace().map(str::to_owned).collect())
                .collect(),
        )
    }

    fn has(&self, word: &str) -> bool {
        self.0.iter().any(|line| line[0] == word)
    }

    /// The words after each line that begins with `word`.
    fn all(&self, word: &str) -> Vec<&[String]> {
        self.0
            .iter()
            .filter(|line| line[0] == word)
            .map(|line| &line[1..])
            .collect()
    }

    fn words(&self, word: &str) -> Vec<String> {
        self.all(word).into_iter().flatten().cloned().collect()
    }
}

fn desired(project: Project, choices: &Choices) -> Desired {
    let mut desired = Desired::new(Arc::new(project), "-");
    let newer = choices.words("newer-image");
    for (name, service) in &desired.project.services {
        let image = desired.image_name(service);
        let digest = if newer.contains(&image) {
            digest(&format!("{image} newer"))
        } else {
            digest(&image)
        };
        desired.image_digests.insert(name.clone(), digest);
    }
    for words in choices.all("image-volume") {
        desired
            .image_volumes
            .insert(words[0].clone(), vec![words[1].clone()]);
    }
    desired
}

/// What `up` of a project would have left on an engine, changed by the choices.
fn observed(before: &Project, choices: &Choices) -> Observed {
    let mut observed = Observed::default();
    for (key, network) in &before.networks {
        let mut labels: BTreeMap<String, String> = BTreeMap::from([
            (labels::PROJECT.to_owned(), before.name.clone()),
            (labels::NETWORK.to_owned(), key.clone()),
            (labels::CONFIG_HASH.to_owned(), network_hash(network)),
            (labels::HOIST_CONFIG.to_owned(), network_json(network)),
        ]);
        if network.external || choices.words("unlabelled").contains(key) {
            labels.clear();
        }
        observed.networks.push(ObservedNetwork {
            id: hash(&network.name),
            name: network.name.clone(),
            driver: "bridge".to_owned(),
            labels,
        });
    }
    for (key, volume) in &before.volumes {
        let mut labels: BTreeMap<String, String> = BTreeMap::from([
            (labels::PROJECT.to_owned(), before.name.clone()),
            (labels::VOLUME.to_owned(), key.clone()),
            (labels::CONFIG_HASH.to_owned(), volume_hash(volume)),
        ]);
        if volume.external || choices.words("unlabelled").contains(key) {
            labels.clear();
        }
        observed.volumes.push(ObservedVolume {
            name: volume.name.clone(),
            driver: "local".to_owned(),
            labels,
        });
    }
    for service in before.services.values().filter(|s| s.provider.is_none()) {
        for number in 1..=u32::try_from(service.wanted_scale()).unwrap() {
            let gone =
                |words: &&[String]| words[0] == service.name && words[1] == number.to_string();
            if choices.all("gone").iter().any(gone) {
                continue;
            }
            observed
                .containers
                .push(container(before, service, number, choices));
        }
        let image = crate::plan::desired::image_name(&before.name, service, "-");
        observed.images.insert(
            image.clone(),
            ObservedImage {
                digest: digest(&image),
                ..ObservedImage::default()
            },
        );
    }
    observed.containers.sort_by(|a, b| a.name.cmp(&b.name));
    observed.limits = observed
        .containers
        .iter()
        .filter_map(|c| Some((c.id.clone(), Limits::of(before.services.get(&c.service)?))))
        .collect();
    observed
}

fn id(name: &str) -> String {
    hash(&format!("container {name}"))
}

fn mounts_of(project: &Project, service: &Service, choices: &Choices) -> Vec<ObservedMount> {
    let mounts = service
        .volumes
        .iter()
        .filter(|v| v.kind == "volume")
        .map(|v| ObservedMount {
            kind: "volume".to_owned(),
            name: Some(
                project
                    .volumes
                    .get(&v.source)
                    .map_or_else(|| hash(&v.target), |declared| declared.name.clone()),
            ),
            source: String::new(),
            destination: v.target.clone(),
            read_write: true,
        });
    let image_mounts = choices
        .all("image-volume")
        .into_iter()
        .filter(|words| words[0] == service.name)
        .map(|words| ObservedMount {
            kind: "volume".to_owned(),
            name: Some(hash(&words[1])),
            source: String::new(),
            destination: words[1].clone(),
            read_write: true,
        });
    mounts.chain(image_mounts).collect()
}

fn state_of(service: &Service, choices: &Choices) -> (ContainerState, String) {
    let exited = choices
        .all("exited")
        .into_iter()
        .find(|words| words[0] == service.name);
    let is_in = |word: &str| choices.words(word).contains(&service.name);
    let state = if exited.is_some() || is_in("stopped") {
        ContainerState::Exited
    } else if is_in("created") {
        ContainerState::Created
    } else if is_in("paused") {
        ContainerState::Paused
    } else {
        ContainerState::Running
    };
    let status = exited.map_or_else(String::new, |words| {
        format!("Exited ({}) 1 second ago", words[1])
    });
    (state, status)
}

fn container(
    project: &Project,
    service: &Service,
    number: u32,
    choices: &Choices,
) -> ObservedContainer {
    let name = crate::plan::desired::container_name(&project.name, service, number, "-");
    let parents: BTreeMap<String, String> = project
        .services
        .values()
        .map(|s| {
            (
                s.name.clone(),
                id(&crate::plan::desired::container_name(
                    &project.name,
                    s,
                    1,
                    "-",
                )),
            )
        })
        .collect();
    let (resolved, _) = with_container_references(service, &parents);
    let config = service_config(&resolved);
    let image = crate::plan::desired::image_name(&project.name, service, "-");
    let needs: Vec<String> = service
        .depends_on
        .iter()
        .map(|(n, d)| format!("{n}:{}:{}", d.condition, d.restart))
        .collect();
    let mut all = BTreeMap::from([
        (labels::PROJECT.to_owned(), project.name.clone()),
        (labels::SERVICE.to_owned(), service.name.clone()),
        (labels::CONFIG_HASH.to_owned(), hash(&config)),
        (labels::CONTAINER_NUMBER.to_owned(), number.to_string()),
        (labels::ONE_OFF.to_owned(), "False".to_owned()),
        (labels::IMAGE.to_owned(), digest(&image)),
        (labels::DEPENDS_ON.to_owned(), needs.join(",")),
        (labels::HOIST_CONFIG.to_owned(), config),
    ]);
    if choices.words("foreign").contains(&service.name) {
        all.remove(labels::HOIST_CONFIG);
    }
    let (state, status) = state_of(service, choices);
    ObservedContainer {
        id: id(&name),
        name,
        service: service.name.clone(),
        number: Some(number),
        one_off: false,
        state,
        status,
        command: String::new(),
        health: if choices.words("healthy").contains(&service.name) {
            Health::Healthy
        } else {
            Health::None
        },
        image_id: digest(&image),
        image,
        created: 1000 - i64::from(number),
        labels: all,
        networks: service
            .networks
            .keys()
            .filter_map(|key| project.networks.get(key))
            .map(|n| (n.name.clone(), hash(&n.name)))
            .collect(),
        mounts: mounts_of(project, service, choices),
        ports: Vec::new(),
    }
}

fn plan(case: &Path) -> Result<Plan, String> {
    let choices = Choices::read(case);
    let after = loaded(case, "compose.yaml");
    let locate = |field: &str| {
        let place = after.provenance.locate(field)?;
        let file = Path::new(&place.file)
            .file_name()?
            .to_string_lossy()
            .into_owned();
        Some(Location {
            file,
            line: place.line,
        })
    };
    let mut before = if case.join("before.yaml").exists() {
        observed(&loaded(case, "before.yaml").project, &choices)
    } else {
        Observed::default()
    };
    // A replacement that was interrupted after the new container was made.
    for service in choices.words("interrupted") {
        let none = Choices(Vec::new());
        let mut new = container(&after.project, &after.project.services[&service], 1, &none);
        new.state = ContainerState::Created;
        new.name = format!("{}_{}", &id(&new.name)[..12], new.name);
        new.id = hash(&new.name);
        before.containers.push(new);
    }
    let services = choices.words("services");
    if choices.has("down") || choices.has("stop") || choices.has("restart") {
        return teardown_plan(&after.project, &before, &choices, &services);
    }
    let mut project = selection::select(
        &after.project,
        &services,
        crate::compose::Dependencies::Include,
    )
    .map_err(|e| e.to_string())?;
    let scales: Vec<(String, i64)> = choices
        .words("scale")
        .iter()
        .map(|text| selection::parse_scale(text).unwrap())
        .collect();
    selection::scale(&mut project, &scales).map_err(|e| e.to_string())?;
    let recreate = if choices.has("force-recreate") {
        Recreate::Force
    } else if choices.has("no-recreate") {
        Recreate::Never
    } else {
        Recreate::Diverged
    };
    let set = |word: &str| -> BTreeSet<String> { choices.words(word).into_iter().collect() };
    let options = ReconcileOptions {
        services,
        recreate,
        recreate_dependencies: if recreate == Recreate::Never {
            recreate
        } else {
            Recreate::Diverged
        },
        inherit_volumes: !choices.has("renew-anon-volumes"),
        goal: if choices.has("create") {
            Goal::Created
        } else if choices.has("wait") {
            Goal::Ready
        } else {
            Goal::Started
        },
        timeout: None,
        remove_orphans: choices.has("remove-orphans"),
        ignore_orphans: false,
        volumes_accepted: set("accept"),
        volumes_declined: set("decline"),
        live: choices.has("live"),
        images: Vec::new(),
        waits: Vec::new(),
        locate: &locate,
    };
    reconcile(&desired(project, &choices), &before, &options).map_err(|e| e.to_string())
}

fn teardown_plan(
    project: &Project,
    before: &Observed,
    choices: &Choices,
    services: &[String],
) -> Result<Plan, String> {
    let desired = desired(project.clone(), choices);
    let timeout = choices
        .words("timeout")
        .first()
        .map(|s| std::time::Duration::from_secs(s.parse().unwrap()));
    let made = if choices.has("down") {
        let options = teardown::DownOptions {
            services: services.to_vec(),
            timeout,
            volumes: choices.has("volumes"),
            images: choices.has("rmi").then_some(RemoveImages::All),
            remove_orphans: choices.has("remove-orphans"),
        };
        teardown::down(&desired, before, &options)
    } else if choices.has("stop") {
        teardown::stop(&desired, before, services, timeout)
    } else {
        teardown::restart(&desired, before, services, true, timeout)
    };
    made.map_err(|e| e.to_string())
}

#[test]
fn plans_are_as_recorded() {
    let update = std::env::var_os("HOIST_UPDATE_FIXTURES").is_some();
    let mut cases: Vec<PathBuf> = std::fs::read_dir(fixtures())
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.is_dir())
        .collect();
    cases.sort();
    assert!(cases.len() > 20, "the fixtures were not found");
    let mut wrong = Vec::new();
    for case in cases {
        let text = match plan(&case) {
            Ok(plan) => {
                let unchanged: String = plan
                    .unchanged
                    .iter()
                    .map(|name| format!("unchanged: {name}\n"))
                    .collect();
                format!("{plan}{unchanged}")
            }
            Err(error) => format!("error: {error}\n"),
        };
        let file = case.join("plan.txt");
        if update {
            std::fs::write(&file, &text).unwrap();
            continue;
        }
        let recorded = std::fs::read_to_string(&file).unwrap_or_default();
        if recorded != text {
            wrong.push(format!(
                "{}\n--- recorded\n{recorded}--- now\n{text}",
                case.display()
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn carrying_a_plan_out_leaves_nothing_to_do() {
    for case in std::fs::read_dir(fixtures()).unwrap() {
        let case = case.unwrap().path();
        let choices = Choices::read(&case);
        let calm = [
            "services",
            "scale",
            "no-recreate",
            "newer-image",
            "stopped",
            "exited",
            "created",
            "paused",
            "down",
            "stop",
            "restart",
            "interrupted",
            "gone",
        ];
        if !case.is_dir() || calm.iter().any(|word| choices.has(word)) || plan(&case).is_err() {
            continue;
        }
        let after = loaded(&case, "compose.yaml");
        let project =
            selection::select(&after.project, &[], crate::compose::Dependencies::Include).unwrap();
        if project.services.values().any(|s| s.provider.is_some()) {
            continue;
        }
        let none = Choices(Vec::new());
        let live = observed(&project, &none);
        let options = ReconcileOptions {
            services: Vec::new(),
            recreate: Recreate::Diverged,
            recreate_dependencies: Recreate::Diverged,
            inherit_volumes: true,
            goal: Goal::Started,
            timeout: None,
            remove_orphans: true,
            ignore_orphans: false,
            volumes_accepted: BTreeSet::new(),
            volumes_declined: BTreeSet::new(),
            live: false,
            images: Vec::new(),
            waits: Vec::new(),
            locate: &|_| None,
        };
        let plan = reconcile(&desired(project, &none), &live, &options).unwrap();
        assert!(
            plan.is_empty(),
            "{}: a second up would do\n{plan}",
            case.display()
        );
    }
}
