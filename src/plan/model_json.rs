//! Canonical texts of parts of the model until the model renders itself.

use crate::compose::model::{Network, Service, Volume};

pub(crate) fn service_json(service: &Service) -> String {
    serde_json::json!({"text": format!("{service:?}")}).to_string()
}

pub(crate) fn network_json(network: &Network) -> String {
    serde_json::json!({"text": format!("{network:?}")}).to_string()
}

pub(crate) fn volume_json(volume: &Volume) -> String {
    serde_json::json!({"text": format!("{volume:?}")}).to_string()
}
