//! [`Service`] → value, field by field in the order of docker compose's type.

use crate::compose::model::view::{Fields, parts};
use crate::compose::model::{Service, ServiceModel, ServiceNetwork};
use crate::compose::out::{Flavor, Out};

pub(super) fn service(service: &Service, flavor: Flavor) -> Out {
    let mut f = Fields::new(flavor);
    first_half(&mut f, service);
    second_half(&mut f, service);
    f.done()
}

fn first_half(f: &mut Fields, s: &Service) {
    f.texts("profiles", &s.profiles);
    f.mapping("annotations", &s.annotations);
    f.optional_flag("attach", s.attach);
    f.optional("build", s.build.as_deref(), parts::build);
    f.optional("develop", s.develop.as_deref(), parts::develop);
    f.optional("blkio_config", s.blkio_config.as_deref(), parts::blkio);
    f.texts("cap_add", &s.cap_add);
    f.texts("cap_drop", &s.cap_drop);
    f.text("cgroup_parent", &s.cgroup_parent);
    f.text("cgroup", &s.cgroup);
    f.integer("cpu_count", s.cpu_count);
    f.float("cpu_percent", s.cpu_percent);
    f.integer("cpu_period", s.cpu_period);
    f.integer("cpu_quota", s.cpu_quota);
    f.integer("cpu_rt_period", s.cpu_rt_period);
    f.integer("cpu_rt_runtime", s.cpu_rt_runtime);
    f.float("cpus", s.cpus);
    f.text("cpuset", &s.cpuset);
    f.integer("cpu_shares", s.cpu_shares);
    command(f, "command", s.command.as_deref());
    f.list("configs", &s.configs, parts::file_reference);
    f.text("container_name", &s.container_name);
    f.optional(
        "credential_spec",
        s.credential_spec.as_deref(),
        parts::credential_spec,
    );
    f.named("depends_on", &s.depends_on, parts::dependency);
    f.optional("deploy", s.deploy.as_deref(), parts::deploy);
    f.texts("device_cgroup_rules", &s.device_cgroup_rules);
    f.list("devices", &s.devices, parts::device);
    f.texts("dns", &s.dns);
    f.texts("dns_opt", &s.dns_opt);
    f.texts("dns_search", &s.dns_search);
    f.text("domainname", &s.domainname);
    command(f, "entrypoint", s.entrypoint.as_deref());
    f.optional("provider", s.provider.as_deref(), parts::provider);
    f.environment("environment", &s.environment);
    f.list("env_file", &s.env_file, parts::env_file);
    f.texts("expose", &s.expose);
    f.optional("extends", s.extends.as_deref(), parts::extends);
    f.texts("external_links", &s.external_links);
    f.hosts("extra_hosts", &s.extra_hosts);
    f.texts("group_add", &s.group_add);
    f.list("gpus", &s.gpus, parts::device_request);
    f.text("hostname", &s.hostname);
    f.optional("healthcheck", s.healthcheck.as_deref(), parts::healthcheck);
    f.text("image", &s.image);
    f.optional_flag("init", s.init);
    f.text("ipc", &s.ipc);
    f.text("isolation", &s.isolation);
    f.mapping("labels", &s.labels);
    f.texts("label_file", &s.label_file);
    f.texts("links", &s.links);
    f.optional("logging", s.logging.as_deref(), parts::logging);
}

fn second_half(f: &mut Fields, s: &Service) {
    f.bytes("mem_limit", s.mem_limit);
    f.bytes("mem_reservation", s.mem_reservation);
    f.bytes("memswap_limit", s.memswap_limit);
    f.bytes("mem_swappiness", s.mem_swappiness);
    f.text("mac_address", &s.mac_address);
    f.named("models", &s.models, |model, flavor| match model {
        Some(model) => service_model(model, flavor),
        None => Out::Null,
    });
    f.text("network_mode", &s.network_mode);
    f.named("networks", &s.networks, |network, flavor| match network {
        Some(network) => service_network(network, flavor),
        None => Out::Null,
    });
    f.flag("oom_kill_disable", s.oom_kill_disable);
    f.integer("oom_score_adj", s.oom_score_adj);
    f.text("pid", &s.pid);
    f.integer("pids_limit", s.pids_limit);
    f.text("platform", &s.platform);
    f.list("ports", &s.ports, parts::port);
    f.list("pre_start", &s.pre_start, parts::hook);
    f.flag("privileged", s.privileged);
    f.text("pull_policy", &s.pull_policy);
    f.flag("read_only", s.read_only);
    f.text("restart", &s.restart);
    f.text("runtime", &s.runtime);
    f.optional_integer("scale", s.scale);
    f.list("secrets", &s.secrets, parts::file_reference);
    f.texts("security_opt", &s.security_opt);
    f.bytes("shm_size", s.shm_size);
    f.flag("stdin_open", s.stdin_open);
    f.duration("stop_grace_period", s.stop_grace_period);
    f.text("stop_signal", &s.stop_signal);
    f.mapping("storage_opt", &s.storage_opt);
    f.mapping("sysctls", &s.sysctls);
    f.texts("tmpfs", &s.tmpfs);
    f.flag("tty", s.tty);
    f.named("ulimits", &s.ulimits, parts::ulimit);
    f.flag("use_api_socket", s.use_api_socket);
    f.text("user", &s.user);
    f.text("userns_mode", &s.userns_mode);
    f.text("uts", &s.uts);
    f.list("volumes", &s.volumes, parts::service_volume);
    f.texts("volumes_from", &s.volumes_from);
    f.text("working_dir", &s.working_dir);
    f.list("post_start", &s.post_start, parts::hook);
    f.list("pre_stop", &s.pre_stop, parts::hook);
    f.extensions(&s.extensions);
}

/// No command and an empty command are not the same: JSON shows the first as null.
pub(super) fn command(f: &mut Fields, key: &str, command: Option<&[String]>) {
    match command {
        Some(words) => f.put(
            key,
            Out::List(words.iter().cloned().map(Out::Str).collect()),
        ),
        None if f.flavor == Flavor::Json => f.put(key, Out::Null),
        None => {}
    }
}

fn service_model(model: &ServiceModel, flavor: Flavor) -> Out {
    let mut f = Fields::new(flavor);
    f.text("endpoint_var", &model.endpoint_var);
    f.text("model_var", &model.model_var);
    f.extensions(&model.extensions);
    f.done()
}

fn service_network(network: &ServiceNetwork, flavor: Flavor) -> Out {
    let mut f = Fields::new(flavor);
    f.texts("aliases", &network.aliases);
    f.mapping("driver_opts", &network.driver_opts);
    f.integer("gw_priority", network.gw_priority);
    f.text("interface_name", &network.interface_name);
    f.text("ipv4_address", &network.ipv4_address);
    f.text("ipv6_address", &network.ipv6_address);
    f.texts("link_local_ips", &network.link_local_ips);
    f.text("mac_address", &network.mac_address);
    f.integer("priority", network.priority);
    f.extensions(&network.extensions);
    f.done()
}
