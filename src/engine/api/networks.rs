//! The network endpoints: bodies decoded, the network service or the container asked, views encoded.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::{get, post};
use bollard::models::{EndpointResource, Ipam, IpamConfig as IpamPoolBody, NetworkCreateRequest};
use http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::engine::api::query::{JsonBody, Params};
use crate::engine::api::respond::{self, ApiError, ApiResult};
use crate::engine::api::{ApiState, blocking};
use crate::engine::base::{Error, Filters, Result};
use crate::engine::containers::actor::Message;
use crate::engine::containers::config::EndpointSettings;
use crate::engine::networks::{
    Connected, IpamConfig, IpamPool, Network, NetworkConfig, Networks, PruneFilter,
};

const LIST_FILTERS: &[&str] = &[
    "dangling", "driver", "id", "label", "label!", "name", "scope", "type",
];
const PRUNE_FILTERS: &[&str] = &["label", "label!", "until"];
const LOCAL_SCOPE: &str = "local";

pub(crate) fn routes() -> Router<ApiState> {
    Router::new()
        .route("/networks", get(list))
        .route("/networks/create", post(create))
        .route("/networks/prune", post(prune))
        .route("/networks/{id}", get(inspect).delete(remove))
        .route("/networks/{id}/connect", post(connect))
        .route("/networks/{id}/disconnect", post(disconnect))
}

/// A network as the API shows it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct NetworkView {
    name: String,
    id: String,
    created: String,
    scope: &'static str,
    driver: String,
    #[serde(rename = "EnableIPv4")]
    enable_ipv4: bool,
    #[serde(rename = "EnableIPv6")]
    enable_ipv6: bool,
    #[serde(rename = "IPAM")]
    ipam: Ipam,
    internal: bool,
    attachable: bool,
    ingress: bool,
    config_from: BTreeMap<&'static str, &'static str>,
    config_only: bool,
    containers: BTreeMap<String, EndpointResource>,
    options: BTreeMap<String, String>,
    labels: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ConnectBody {
    container: String,
    endpoint_config: Option<EndpointSettings>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DisconnectBody {
    container: String,
    // `Force` is for endpoints whose container is gone; here none can be left over.
}

fn view(network: Network, connected: Vec<Connected>) -> NetworkView {
    NetworkView {
        name: network.name,
        id: network.id,
        created: network.created,
        scope: LOCAL_SCOPE,
        driver: network.driver,
        enable_ipv4: network.enable_ipv4,
        enable_ipv6: network.enable_ipv6,
        ipam: ipam_view(network.ipam),
        internal: network.internal,
        attachable: network.attachable,
        ingress: false,
        config_from: BTreeMap::from([("Network", "")]),
        config_only: false,
        containers: connected.into_iter().map(connected_view).collect(),
        options: network.options,
        labels: network.labels,
    }
}

fn ipam_view(ipam: IpamConfig) -> Ipam {
    let pool = |pool: IpamPool| IpamPoolBody {
        subnet: pool.subnet,
        ip_range: pool.ip_range,
        gateway: pool.gateway,
        auxiliary_addresses: (!pool.auxiliary_addresses.is_empty())
            .then(|| pool.auxiliary_addresses.into_iter().collect()),
    };
    Ipam {
        driver: Some(ipam.driver),
        config: Some(ipam.config.into_iter().map(pool).collect()),
        options: Some(ipam.options.into_iter().collect()),
    }
}

fn connected_view(connected: Connected) -> (String, EndpointResource) {
    let endpoint = connected.endpoint;
    let with_prefix = |address: Option<String>| Some(address.unwrap_or_default());
    let resource = EndpointResource {
        name: Some(connected.container_name),
        endpoint_id: Some(endpoint.id),
        mac_address: Some(endpoint.mac),
        ipv4_address: with_prefix(endpoint.ipv4.map(|(ip, prefix)| format!("{ip}/{prefix}"))),
        ipv6_address: with_prefix(endpoint.ipv6.map(|(ip, prefix)| format!("{ip}/{prefix}"))),
    };
    (connected.container_id, resource)
}

async fn list(State(state): State<ApiState>, params: Params) -> ApiResult {
    let filters = params.filters()?;
    filters.check(LIST_FILTERS)?;
    let dangling = filters.boolean("dangling")?;
    for kind in filters.get("type") {
        if !matches!(kind.as_str(), "custom" | "builtin") {
            return Err(ApiError(Error::invalid(format!(
                "invalid filter: 'type'='{kind}'"
            ))));
        }
    }
    let networks = &state.networks;
    let views: Vec<NetworkView> = networks
        .list()
        .into_iter()
        .filter(|network| matches(networks, network, &filters, dangling))
        .map(|network| view(network, Vec::new()))
        .collect();
    Ok(respond::ok(&views))
}

fn matches(
    networks: &Networks,
    network: &Network,
    filters: &Filters,
    dangling: Option<bool>,
) -> bool {
    let is_custom = !network.is_predefined();
    filters.any("name", |part| network.name.contains(part))
        && filters.any("id", |prefix| network.id.starts_with(prefix))
        && filters.any("driver", |driver| network.driver == driver)
        && filters.any("scope", |scope| scope == LOCAL_SCOPE)
        && filters.any("type", |kind| (kind == "custom") == is_custom)
        && filters.match_labels(|key| network.labels.get(key).map(String::as_str))
        && dangling.is_none_or(|wanted| {
            wanted == (is_custom && networks.connected(&network.id).is_empty())
        })
}

async fn inspect(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    params: Params,
) -> ApiResult {
    let scope = params.text("scope");
    if !scope.is_empty() && scope != LOCAL_SCOPE {
        return Err(ApiError(Error::not_found(format!(
            "network {id} not found"
        ))));
    }
    let network = state.networks.get(&id)?;
    let connected = state.networks.connected(&network.id);
    Ok(respond::ok(&view(network, connected)))
}

async fn create(
    State(state): State<ApiState>,
    JsonBody(body): JsonBody<NetworkCreateRequest>,
) -> ApiResult {
    let config = network_config(body)?;
    let networks = Arc::clone(&state.networks);
    let network = blocking(move || networks.create(config)).await?;
    let answer = serde_json::json!({"Id": network.id, "Warning": ""});
    Ok(respond::json(StatusCode::CREATED, &answer))
}

fn network_config(body: NetworkCreateRequest) -> Result<NetworkConfig> {
    let scope = body.scope.unwrap_or_default();
    if scope == "swarm" || body.ingress == Some(true) {
        return Err(Error::unavailable(
            "This node is not a swarm manager. Networks of swarm scope need a swarm.",
        ));
    }
    let config_from = body.config_from.and_then(|from| from.network);
    if body.config_only == Some(true) || config_from.is_some_and(|name| !name.is_empty()) {
        return Err(Error::not_implemented(
            "config-only networks (ConfigOnly, ConfigFrom) are not supported",
        ));
    }
    let ipam = body.ipam.unwrap_or_default();
    let sorted = |map: Option<HashMap<String, String>>| {
        map.unwrap_or_default()
            .into_iter()
            .collect::<BTreeMap<_, _>>()
    };
    let text = |text: Option<String>| text.filter(|text| !text.is_empty());
    let pool = |pool: IpamPoolBody| IpamPool {
        subnet: text(pool.subnet),
        ip_range: text(pool.ip_range),
        gateway: text(pool.gateway),
        auxiliary_addresses: sorted(pool.auxiliary_addresses),
    };
    Ok(NetworkConfig {
        name: body.name,
        driver: body.driver.unwrap_or_default(),
        internal: body.internal.unwrap_or(false),
        attachable: body.attachable.unwrap_or(false),
        enable_ipv4: body.enable_ipv4.unwrap_or(true),
        enable_ipv6: body.enable_ipv6.unwrap_or(false),
        ipam: IpamConfig {
            driver: ipam.driver.unwrap_or_default(),
            config: ipam
                .config
                .unwrap_or_default()
                .into_iter()
                .map(pool)
                .collect(),
            options: sorted(ipam.options),
        },
        options: sorted(body.options),
        labels: sorted(body.labels),
    })
}

async fn remove(State(state): State<ApiState>, Path(id): Path<String>) -> ApiResult {
    let networks = Arc::clone(&state.networks);
    blocking(move || networks.remove(&id)).await?;
    Ok(respond::no_content())
}

async fn prune(State(state): State<ApiState>, params: Params) -> ApiResult {
    let filters = params.filters()?;
    filters.check(PRUNE_FILTERS)?;
    let until_unix = match filters.get("until") {
        [] => None,
        [until] => Some(parse_until(until)?),
        _ => {
            return Err(ApiError(Error::invalid(
                "more than one until filter specified",
            )));
        }
    };
    let wanted = PruneFilter {
        labels: filters.get("label").to_vec(),
        without_labels: filters.get("label!").to_vec(),
        until_unix,
    };
    let networks = Arc::clone(&state.networks);
    let removed = blocking(move || networks.prune(&wanted)).await?;
    Ok(respond::ok(&serde_json::json!({
        "NetworksDeleted": if removed.is_empty() { None } else { Some(removed) },
    })))
}

/// A Unix time, an RFC 3339 time, or how long ago (`10m`, `1h30m`).
fn parse_until(text: &str) -> Result<i64> {
    if let Ok(seconds) = text.parse::<f64>() {
        return Ok(seconds as i64);
    }
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return Ok(time.as_second());
    }
    let ago = text
        .parse::<jiff::SignedDuration>()
        .map_err(|_| Error::invalid(format!("invalid filter 'until={text}'")))?;
    Ok(jiff::Timestamp::now()
        .as_second()
        .saturating_sub(ago.as_secs()))
}

async fn connect(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<ConnectBody>,
) -> ApiResult {
    // The network first: that is the error Docker gives when both are wrong.
    let network = state.networks.get(&id)?;
    let container = state.containers.get(&body.container)?;
    let settings = Box::new(body.endpoint_config.unwrap_or_default());
    container
        .ask(|reply| Message::Connect(network.name, settings, reply))
        .await?;
    Ok(respond::empty(StatusCode::OK))
}

async fn disconnect(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<DisconnectBody>,
) -> ApiResult {
    let network = state.networks.get(&id)?;
    let container = state.containers.get(&body.container)?;
    container
        .ask(|reply| Message::Disconnect(network.name, reply))
        .await?;
    Ok(respond::empty(StatusCode::OK))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_clients_leave_out_gets_dockers_defaults() {
        let body: NetworkCreateRequest = serde_json::from_str(
            r#"{"Name":"n","Driver":"","IPAM":null,"Options":null,"Labels":null,"EnableIPv6":null}"#,
        )
        .unwrap();
        let config = network_config(body).unwrap();
        assert!(config.enable_ipv4 && !config.enable_ipv6 && !config.internal);
        assert_eq!(config.ipam, IpamConfig::default());
        let swarm = NetworkCreateRequest {
            scope: Some("swarm".to_owned()),
            ..NetworkCreateRequest::default()
        };
        assert!(network_config(swarm).is_err());
    }

    #[test]
    fn until_is_a_time_or_a_duration() {
        assert_eq!(parse_until("1700000000.5").unwrap(), 1_700_000_000);
        assert_eq!(parse_until("2023-11-14T22:13:20Z").unwrap(), 1_700_000_000);
        let hour_ago = parse_until("1h").unwrap();
        assert!(hour_ago <= jiff::Timestamp::now().as_second() - 3600);
        assert!(parse_until("yesterday").is_err());
    }
}
