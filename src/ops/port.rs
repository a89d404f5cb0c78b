//! `port`: where a port of a service is published.

use crate::ops::{Context, OpError, replicas};

/// Which port.
#[derive(Debug, Clone)]
pub(crate) struct PortOptions {
    pub(crate) service: String,
    pub(crate) port: u16,
    pub(crate) protocol: String,
    pub(crate) index: u32,
}

/// `HOST_IP:HOST_PORT`.
///
/// # Errors
/// The engine, no such container, or a port that is not published: the message lists those that are.
pub(crate) async fn run(ctx: &Context, options: PortOptions) -> Result<String, OpError> {
    let container = replicas::any_one(ctx, &options.service, options.index).await?;
    let protocol = options.protocol.to_ascii_lowercase();
    let found = container
        .ports
        .iter()
        .filter(|port| port.target == options.port && port.protocol == protocol)
        .find_map(|port| port.published.map(|published| (&port.host_ip, published)));
    if let Some((host_ip, published)) = found {
        return Ok(if host_ip.contains(':') {
            format!("[{host_ip}]:{published}")
        } else {
            format!("{host_ip}:{published}")
        });
    }
    let known: Vec<String> = container
        .ports
        .iter()
        .map(|port| match port.published {
            Some(published) => format!("{published}->{}/{}", port.target, port.protocol),
            None => format!("{}/{}", port.target, port.protocol),
        })
        .collect();
    Err(OpError::failed(format!(
        "no port {}/{protocol} for container {}: {}",
        options.port,
        container.name,
        known.join(", ")
    )))
}
