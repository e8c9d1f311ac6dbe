//! What Docker sends and is answered, by its network plugin protocol. Fields that nothing is done with are left out.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The key of the user's own options, among those of a network.
const GENERIC: &str = "com.docker.network.generic";
/// The key of `--internal`.
const INTERNAL: &str = "com.docker.network.internal";

/// `CreateNetwork`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct CreateNetwork {
    #[serde(rename = "NetworkID")]
    pub(super) network_id: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) options: Map<String, Value>,
    #[serde(default, rename = "IPv4Data", deserialize_with = "or_default")]
    pub(super) ipv4_data: Vec<IpamData>,
    #[serde(default, rename = "IPv6Data", deserialize_with = "or_default")]
    pub(super) ipv6_data: Vec<IpamData>,
}

/// A subnet, as Docker's address management has chosen it. All addresses have a prefix length.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct IpamData {
    #[serde(default, deserialize_with = "or_default")]
    pub(super) pool: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) gateway: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) aux_addresses: BTreeMap<String, String>,
}

impl CreateNetwork {
    pub(super) fn is_internal(&self) -> bool {
        self.options.get(INTERNAL) == Some(&Value::Bool(true))
    }

    /// The user's `-o KEY=VALUE`; the error is what is there instead.
    pub(super) fn user_options(&self) -> Result<Vec<(&str, &str)>, String> {
        match self.options.get(GENERIC) {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(Value::Object(options)) => options
                .iter()
                .map(|(key, value)| Ok((key.as_str(), value.as_str().ok_or_else(|| value.to_string())?)))
                .collect(),
            Some(other) => Err(other.to_string()),
        }
    }
}

/// A call about a network.
#[derive(Debug, Deserialize)]
pub(super) struct Network {
    #[serde(rename = "NetworkID")]
    pub(super) network_id: String,
}

/// A call about an endpoint: `Leave`, `DeleteEndpoint`, `EndpointOperInfo` and those about external connectivity.
#[derive(Debug, Deserialize)]
pub(super) struct Endpoint {
    #[serde(rename = "NetworkID")]
    pub(super) network_id: String,
    #[serde(rename = "EndpointID")]
    pub(super) endpoint_id: String,
}

/// `CreateEndpoint`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct CreateEndpoint {
    #[serde(flatten)]
    pub(super) endpoint: Endpoint,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) interface: Interface,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) options: Map<String, Value>,
}

impl CreateEndpoint {
    /// The user's `--driver-opt KEY=VALUE`; other options of that name aren't texts.
    pub(super) fn user_option(&self, key: &str) -> Option<&str> {
        self.options.get(key)?.as_str()
    }
}

/// What Docker has chosen for an endpoint; the addresses have a prefix length.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Interface {
    #[serde(default, deserialize_with = "or_default")]
    pub(super) address: String,
    #[serde(default, rename = "AddressIPv6", deserialize_with = "or_default")]
    pub(super) address_ipv6: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) mac_address: String,
}

/// `Join`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Join {
    #[serde(flatten)]
    pub(super) endpoint: Endpoint,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) sandbox_key: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) options: Map<String, Value>,
}

impl Join {
    /// Whether ports are to be published.
    pub(super) fn has_ports(&self) -> bool {
        let ports = self.options.get("com.docker.network.portmap").and_then(Value::as_array);
        ports.is_some_and(|ports| !ports.is_empty())
    }
}

/// The answer to `Join`.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Joined {
    pub(super) interface_name: InterfaceName,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) gateway: Option<String>,
    #[serde(rename = "GatewayIPv6", skip_serializing_if = "Option::is_none")]
    pub(super) gateway_ipv6: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) static_routes: Vec<StaticRoute>,
    /// Else Docker attaches a container without a gateway to a bridge of its own, and it is isolated no more.
    pub(super) disable_gateway_service: bool,
}

/// Docker moves the interface, and calls it by the prefix and a number.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct InterfaceName {
    pub(super) src_name: String,
    pub(super) dst_prefix: &'static str,
}

/// A route out of the interface.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct StaticRoute {
    pub(super) destination: &'static str,
    pub(super) route_type: u8,
    pub(super) next_hop: &'static str,
}

impl StaticRoute {
    /// A route without a next hop.
    pub(super) const CONNECTED: u8 = 1;
}

/// Go writes `null` for what is empty.
fn or_default<'de, D: serde::Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
