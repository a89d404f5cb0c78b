//! The parts of a service → values.

use crate::compose::model::view::{Fields, service::command};
use crate::compose::model::{
    BlkioConfig, BuildConfig, CredentialSpec, Dependency, Deploy, Develop, Device, DeviceRequest,
    EnvFile, Extends, FileReference, GenericResource, Healthcheck, Hook, Logging, PortConfig,
    Provider, ResourceLimits, RestartPolicy, ServiceVolume, SshKey, ThrottleDevice, Ulimit,
    UpdateConfig, WatchRule,
};
use crate::compose::out::{Flavor, Out};

pub(super) fn build(build: &BuildConfig, flavor: Flavor) -> Out {
    let mut f = Fields::new(flavor);
    f.text("context", &build.context);
    f.text("dockerfile", &build.dockerfile);
    f.text("dockerfile_inline", &build.dockerfile_inline);
    f.texts("entitlements", &build.entitlements);
    f.environment("args", &build.args);
    f.text("provenance", &build.provenance);
    f.text("sbom", &build.sbom);
    f.list("ssh", &build.ssh, |key: &SshKey, _| {
        Out::Str(if key.path.is_empty() {
            key.id.clone()
        } else {
            format!("{}: {}", key.id, key.path)
        })
    });
    f.mapping("labels", &build.labels);
    f.texts("cache_from", &build.cache_from);
    f.texts("cache_to", &build.cache_to);
    f.flag("no_cache", build.no_cache);
    f.texts("no_cache_filter", &build.no_cache_filter);
    f.mapping("additional_contexts", &build.additional_contexts);
    f.flag("pull", build.pull);
    f.hosts("extra_hosts", &build.extra_hosts);
    f.text("isolation", &build.isolation);
    f.text("network", &build.network);
    f.text("target", &build.target);
    f.list("secrets", &build.secrets, file_reference);
    f.bytes("shm_size", build.shm_size);
    f.texts("tags", &build.tags);
    f.named("ulimits", &build.ulimits, ulimit);
    f.texts("platforms", &build.platforms);
    f.flag("privileged", build.privileged);
    f.extensions(&build.extensions);
    f.done()
}

pub(super) fn develop(develop: &Develop, flavor: Flavor) -> Out {
    let mut f = Fields::new(flavor);
    f.list("watch", &develop.watch, watch_rule);
    f.extensions(&develop.extensions);
    f.done()
}

fn watch_rule(rule: &WatchRule, flavor: Flavor) -> Out {
    let mut f = Fields::new(flavor);
    f.put("path", Out::Str(rule.path.clone()));
    f.put("action", Out::Str(rule.action.clone()));
    f.text("target", &rule.target);
    f.structure("exec", hook(&rule.exec, flavor));
    f.texts("include", &rule.include);
    f.texts("ignore", &rule.ignore);
    f.flag("initial_sync", rule.initial_sync);
    f.extensions(&rule.extensions);
    f.done()
}

pub(super) fn hook(hook: &Hook, flavor: Flavor) -> Out {
    let mut f = Fields::new(flavor);
    command(&mut f, "command", hook.command.as_deref());
    f.text("image", &hook.image);
    f.text("user", &hook.user);
    f.flag("privileged", hook.privileged);
    f.text("working_dir", &hook.working_dir);
    f.environment("environment", &hook.environment);
    f.flag("per_replica", hook.per_replica);
    f.extensions(&hook.extensions);
    f.done()
}

pub(super) fn blkio(blkio: &BlkioConfig, flavor: Flavor) -> Out {
    let mut f = Fields::new(flavor);
    f.integer("weight", i64::from(blkio.weight));
    // These types have no JSON names of their own, so Go writes the fields' names.
    let names = match flavor {
        Flavor::Yaml => ["path", "weight", "rate"],
        Flavor::Json => ["Path", "Weight", "Rate"],
    };
    f.list("weight_device", &blkio.weight_device, |device, flavor| {
        let mut f = Fields::new(flavor);
        f.put(names[0], Out::Str(device.path.clone()));
        f.put(names[1], Out::Int(i64::from(device.weight)));
        f.extensions(&device.extensions);
        f.done()
    });
    let throttle = |device: &ThrottleDevice, flavor| {
        let mut f = Fields::new(flavor);
        f.put(names[0], Out::Str(device.path.clone()));
        f.put(names[2], Out::Str(device.rate.to_string()));
        f.extensions(&device.extensions);
        f.done()
    };
    f.list("device_read_bps", &blkio.device_read_bps, throttle);
    f.list("device_read_iops", &blkio.device_read_iops, throttle);
    f.list("device_write_bps", &blkio.device_write_bps, throttle);
    f.list("device_write_iops", &blkio.device_write_iops, throttle);
    f.extensions(&blkio.extensions);
    f.done()
}

pub(super) fn file_reference(reference: &FileReference, flavor: Flavor) -> Out {
    let mut f = Fields::new(flavor);
    f.text("source", &reference.source);
    f.text("target", &reference.target);
    f.text("uid", &reference.uid);
    f.text("gid", &reference.gid);
    if let Some(mode) = reference.mode {
        f.put("mode", Out::Str(format!("0{mode:o}")));
    }
    f.extensions(&reference.extensions);
    f.done()
}

pub(super) fn credential_spec(spec: &CredentialSpec, flavor: Flavor) -> Out {
    let mut f = Fields::new(flavor);
    f.text("config", &spec.config);
    f.text("file", &spec.file);
    f.text("registry", &spec.registry);
    f.extensions(&spec.extensions);
    f.done()
}

pub(super) fn dependency(dependency: &Dependency, flavor: Flavor) -> Out {
    let mut f = Fields::new(flavor);
    f.text("condition", &dependency.condition);
    f.flag("restart", dependency.restart);
    f.put("required", Out::Bool(dependency.required));
    f.extensions(&dependency.extensions);
    f.done()
}

pub(super) fn device(device: &Device, flavor: Flavor) -> Out {
    let mut f = Fields::new(flavor);
    f.text("source", &device.source);
    f.text("target", &device.target);
    f.text("permissions", &device.permissions);
    f.extensions(&device.extensions);
    f.done()
}

pub(super) fn provider(provider: &Provider, flavor: Flavor) -> Out {
    let mut f = Fields::new(flavor);
    f.text("type", &provider.kind);
    f.named("options", &provider.options, |values, _| {
        Out::List(values.iter().cloned().map(Out::Str).collect())
    });
    f.extensions(&provider.extensions);
    f.done()
}

pub(super) fn env_file(file: &EnvFile, flavor: Flavor) -> Out {
    if file.required {
        return Out::Str(file.path.clone());
    }
    let mut f = Fields::new(flavor);
    f.text("path", &file.path);
    f.put("required", Out::Bool(false));
    if flavor == Flavor::Json {
        f.text("format", &file.format);
    }
    f.done()
}

pub(super) fn extends(extends: &Extends, flavor: Flavor) -> Out {
    let mut f = Fields::new(flavor);
    f.text("file", &extends.file);
    f.text("service", &extends.service);
    f.done()
}

pub(super) fn device_request(request: &DeviceRequest, flavor: Flavor) -> Out {
    let mut f = Fields::new(flavor);
    f.texts("capabilities", &request.capabilities);
    f.text("driver", &request.driver);
    f.integer("count", request.count);
    f.texts("device_ids", &request.device_ids);
    f.mapping("options", &request.options);
    f.done()
}

pub(super) fn healthcheck(check: &Healthcheck, flavor: Flavor) -> Out {
    let mut f = Fields::new(flavor);
    f.texts("test", &check.test);
    f.duration("timeout", check.timeout);
    f.duration("interval", check.interval);
    f.optional_unsigned("retries", check.retries);
    f.duration("start_period", check.start_period);
    f.duration("start_interval", check.start_interval);
    f.flag("disable", check.disable);
    f.extensions(&check.extensions);
    f.done()
}

pub(super) fn logging(logging: &Logging, flavor: Flavor) -> Out {
    let mut f = Fields::new(flavor);
    f.text("driver", &logging.driver);
    f.mapping("options", &logging.options);
    f.extensions(&logging.extensions);
    f.done()
}

pub(super) fn port(port: &PortConfig, flavor: Flavor) -> Out {
    let mut f = Fields::new(flavor);
    f.text("name", &port.name);
    f.text("mode", &port.mode);
    f.text("host_ip", &port.host_ip);
    f.integer("target", i64::from(port.target));
    f.text("published", &port.published);
    f.text("protocol", &port.protocol);
    f.text("app_protocol", &port.app_protocol);
    f.extensions(&port.extensions);
    f.done()
}

pub(super) fn ulimit(limit: &Ulimit, flavor: Flavor) -> Out {
    if limit.single != 0 {
        return Out::Int(limit.single);
    }
    let mut f = Fields::new(flavor);
    if flavor == Flavor::Yaml {
        f.put("soft", Out::Int(limit.soft));
        f.put("hard", Out::Int(limit.hard));
    } else {
        f.integer("soft", limit.soft);
        f.integer("hard", limit.hard);
    }
    f.done()
}

pub(super) fn service_volume(volume: &ServiceVolume, flavor: Flavor) -> Out {
    let mut f = Fields::new(flavor);
    f.text("type", &volume.kind);
    f.text("source", &volume.source);
    f.text("target", &volume.target);
    f.flag("read_only", volume.read_only);
    f.text("consistency", &volume.consistency);
    f.optional("bind", volume.bind.as_deref(), |bind, flavor| {
        let mut f = Fields::new(flavor);
        f.text("selinux", &bind.selinux);
        f.text("propagation", &bind.propagation);
        f.flag("create_host_path", bind.create_host_path);
        f.text("recursive", &bind.recursive);
        f.extensions(&bind.extensions);
        f.done()
    });
    f.optional("volume", volume.volume.as_deref(), |options, flavor| {
        let mut f = Fields::new(flavor);
        f.mapping("labels", &options.labels);
        f.flag("nocopy", options.nocopy);
        f.text("subpath", &options.subpath);
        f.extensions(&options.extensions);
        f.done()
    });
    f.optional("tmpfs", volume.tmpfs.as_deref(), |tmpfs, flavor| {
        let mut f = Fields::new(flavor);
        f.bytes("size", tmpfs.size);
        f.integer("mode", i64::from(tmpfs.mode));
        f.extensions(&tmpfs.extensions);
        f.done()
    });
    f.optional("image", volume.image.as_deref(), |image, flavor| {
        let mut f = Fields::new(flavor);
        f.text("subpath", &image.subpath);
        f.extensions(&image.extensions);
        f.done()
    });
    f.extensions(&volume.extensions);
    f.done()
}

pub(super) fn deploy(deploy: &Deploy, flavor: Flavor) -> Out {
    let mut f = Fields::new(flavor);
    f.text("mode", &deploy.mode);
    f.optional_integer("replicas", deploy.replicas);
    f.mapping("labels", &deploy.labels);
    f.optional("update_config", deploy.update_config.as_deref(), update);
    f.optional("rollback_config", deploy.rollback_config.as_deref(), update);
    let resources = {
        let mut f = Fields::new(flavor);
        f.optional("limits", deploy.resources.limits.as_deref(), limits);
        f.optional(
            "reservations",
            deploy.resources.reservations.as_deref(),
            limits,
        );
        f.extensions(&deploy.resources.extensions);
        f.done()
    };
    f.structure("resources", resources);
    f.optional("restart_policy", deploy.restart_policy.as_ref(), restart);
    let placement = {
        let mut f = Fields::new(flavor);
        f.texts("constraints", &deploy.placement.constraints);
        f.list(
            "preferences",
            &deploy.placement.preferences,
            |(spread, extensions), flavor| {
                let mut f = Fields::new(flavor);
                f.text("spread", spread);
                f.extensions(extensions);
                f.done()
            },
        );
        if deploy.placement.max_replicas_per_node != 0 {
            f.put(
                "max_replicas_per_node",
                Out::Uint(deploy.placement.max_replicas_per_node),
            );
        }
        f.extensions(&deploy.placement.extensions);
        f.done()
    };
    f.structure("placement", placement);
    f.text("endpoint_mode", &deploy.endpoint_mode);
    f.extensions(&deploy.extensions);
    f.done()
}

fn update(config: &UpdateConfig, flavor: Flavor) -> Out {
    let mut f = Fields::new(flavor);
    f.optional_unsigned("parallelism", config.parallelism);
    f.duration("delay", Some(config.delay).filter(|d| d.0 != 0));
    f.text("failure_action", &config.failure_action);
    f.duration("monitor", Some(config.monitor).filter(|d| d.0 != 0));
    f.float("max_failure_ratio", config.max_failure_ratio);
    f.text("order", &config.order);
    f.extensions(&config.extensions);
    f.done()
}

fn limits(limits: &ResourceLimits, flavor: Flavor) -> Out {
    let mut f = Fields::new(flavor);
    f.float("cpus", limits.cpus);
    f.bytes("memory", limits.memory);
    f.integer("pids", limits.pids);
    f.list("devices", &limits.devices, device_request);
    f.list("generic_resources", &limits.generic_resources, generic);
    f.extensions(&limits.extensions);
    f.done()
}

fn generic(resource: &GenericResource, flavor: Flavor) -> Out {
    let mut f = Fields::new(flavor);
    if resource.has_spec {
        let mut inner = Fields::new(flavor);
        inner.put("kind", Out::Str(resource.kind.clone()));
        inner.put("value", Out::Int(resource.value));
        inner.extensions(&resource.spec_extensions);
        f.put("discrete_resource_spec", inner.done());
    }
    f.extensions(&resource.extensions);
    f.done()
}

fn restart(policy: &RestartPolicy, flavor: Flavor) -> Out {
    let mut f = Fields::new(flavor);
    f.text("condition", &policy.condition);
    f.duration("delay", policy.delay);
    f.optional_unsigned("max_attempts", policy.max_attempts);
    f.duration("window", policy.window);
    f.extensions(&policy.extensions);
    f.done()
}
