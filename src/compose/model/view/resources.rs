//! The project and its top-level resources → values.

use crate::compose::model::view::{Fields, service, untyped};
use crate::compose::model::{FileObject, IpamConfig, Model, Network, Project, Volume};
use crate::compose::out::{Flavor, Out};

/// The whole project as `config` prints it.
pub(crate) fn project(project: &Project, flavor: Flavor) -> Out {
    let mut f = Fields::new(flavor);
    match flavor {
        Flavor::Yaml => f.text("name", &project.name),
        Flavor::Json => f.put("name", Out::Str(project.name.clone())),
    }
    let services = f.sorted(
        project
            .services
            .iter()
            .map(|(name, s)| (name.clone(), service::service(s, flavor))),
    );
    f.put("services", services);
    f.named("networks", &project.networks, network);
    f.named("volumes", &project.volumes, volume);
    f.named("secrets", &project.secrets, |secret, flavor| {
        let mut shown = secret.clone();
        shown.content.clear();
        file_object(&shown, flavor)
    });
    f.named("configs", &project.configs, |config, flavor| {
        let mut shown = config.clone();
        if !shown.environment.is_empty() {
            shown.content.clear();
        }
        file_object(&shown, flavor)
    });
    if flavor == Flavor::Yaml {
        f.named("models", &project.models, model);
        f.extensions(&project.extensions);
        return f.done();
    }
    // JSON of docker compose has the extensions of the project, but no models; keys are sorted.
    for (key, value) in &project.extensions {
        f.put(key, untyped(value, flavor));
    }
    flavor.sort(&mut f.entries);
    f.done()
}

pub(super) fn network(network: &Network, flavor: Flavor) -> Out {
    let mut f = Fields::new(flavor);
    f.text("name", &network.name);
    f.text("driver", &network.driver);
    f.mapping("driver_opts", &network.driver_opts);
    f.structure("ipam", ipam(&network.ipam, flavor));
    f.flag("external", network.external);
    f.flag("internal", network.internal);
    f.flag("attachable", network.attachable);
    f.mapping("labels", &network.labels);
    f.optional_flag("enable_ipv4", network.enable_ipv4);
    f.optional_flag("enable_ipv6", network.enable_ipv6);
    f.extensions(&network.extensions);
    f.done()
}

fn ipam(ipam: &IpamConfig, flavor: Flavor) -> Out {
    let mut f = Fields::new(flavor);
    f.text("driver", &ipam.driver);
    f.list("config", &ipam.config, |pool, flavor| {
        let mut f = Fields::new(flavor);
        f.text("subnet", &pool.subnet);
        f.text("gateway", &pool.gateway);
        f.text("ip_range", &pool.ip_range);
        f.mapping("aux_addresses", &pool.aux_addresses);
        f.extensions(&pool.extensions);
        f.done()
    });
    f.extensions(&ipam.extensions);
    f.done()
}

pub(super) fn volume(volume: &Volume, flavor: Flavor) -> Out {
    let mut f = Fields::new(flavor);
    f.text("name", &volume.name);
    f.text("driver", &volume.driver);
    f.mapping("driver_opts", &volume.driver_opts);
    f.flag("external", volume.external);
    f.mapping("labels", &volume.labels);
    f.extensions(&volume.extensions);
    f.done()
}

fn file_object(object: &FileObject, flavor: Flavor) -> Out {
    let mut f = Fields::new(flavor);
    f.text("name", &object.name);
    f.text("file", &object.file);
    f.text("environment", &object.environment);
    f.text("content", &object.content);
    f.flag("external", object.external);
    f.mapping("labels", &object.labels);
    f.text("driver", &object.driver);
    f.mapping("driver_opts", &object.driver_opts);
    f.text("template_driver", &object.template_driver);
    f.extensions(&object.extensions);
    f.done()
}

fn model(model: &Model, flavor: Flavor) -> Out {
    let mut f = Fields::new(flavor);
    f.text("name", &model.name);
    f.text("model", &model.model);
    f.integer("context_size", model.context_size);
    f.texts("runtime_flags", &model.runtime_flags);
    f.extensions(&model.extensions);
    f.done()
}
