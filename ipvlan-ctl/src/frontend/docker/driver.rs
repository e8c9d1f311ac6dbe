//! Docker's calls, as calls of the services. Each may come again: what is done already is success.

use std::path::{Path, PathBuf};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::message::{
    CreateEndpoint, CreateNetwork, Endpoint, InterfaceName, IpamData, Join, Joined, Network, StaticRoute,
};
use crate::{
    model::{Engine, Invalid, NetworkSpec, Owner, RawNetwork, parse_switch},
    service::{AttachRequest, DefaultRoute, Error, Offered, Root, Session},
};

/// What Docker names interfaces in containers by, with a number behind.
const PREFIX: &str = "eth";
/// How many digits of an id Docker shows, and we take for a name.
const SHORT: usize = 12;
/// Keys of Docker's own for what has another one here.
const MTU: &str = "com.docker.network.driver.mtu";
/// The one option that an endpoint has of its own.
const HOST_ACCESS: &str = "host_access";

/// Why a call can't be done.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    /// There is no such call.
    #[error("{0} is no call of this driver")]
    Unknown(String),
    /// Not by the protocol.
    #[error("can't read the request: {0}")]
    Malformed(#[from] serde_json::Error),
    /// What Docker asks for can't be.
    #[error("{0}")]
    Refused(String),
    /// The service says no.
    #[error(transparent)]
    Service(#[from] Error),
}

impl From<Invalid> for CallError {
    fn from(invalid: Invalid) -> Self {
        Self::Service(invalid.into())
    }
}

impl CallError {
    /// What Docker shows to the user, on one line.
    pub(super) fn text(&self) -> String {
        let hint = if let Self::Service(error) = self { error.hint() } else { None };
        let text = self.to_string() + &hint.map_or_else(String::new, |hint| format!("; {hint}"));
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

fn refuse<T>(text: impl Into<String>) -> Result<T, CallError> {
    Err(CallError::Refused(text.into()))
}

/// Answers one call; what went less than well besides is for `warn`.
pub(super) fn call(
    root: &Root,
    warn: &dyn Fn(&[String]),
    path: &str,
    body: &[u8],
) -> Result<Value, CallError> {
    let calls = Calls { root, warn };
    let nothing = json!({});
    match path {
        "/Plugin.Activate" => Ok(json!({"Implements": ["NetworkDriver"]})),
        "/NetworkDriver.GetCapabilities" => {
            Ok(json!({"Scope": "local", "ConnectivityScope": "global", "GwAllocChecker": false}))
        }
        // A gateway is set aside in every mode, so that a network can go from one to another.
        "/NetworkDriver.GwAllocCheck" => Ok(json!({"SkipIPv4": false, "SkipIPv6": false})),
        "/NetworkDriver.CreateNetwork" => calls.create_network(&read(body)?).map(|()| nothing),
        "/NetworkDriver.DeleteNetwork" => calls.delete_network(&read(body)?).map(|()| nothing),
        "/NetworkDriver.CreateEndpoint" => {
            calls.create_endpoint(&read(body)?).map(|()| json!({"Interface": {}}))
        }
        "/NetworkDriver.EndpointOperInfo" => calls.known(&read(body)?).map(|()| json!({"Value": {}})),
        "/NetworkDriver.DeleteEndpoint" => calls.delete_endpoint(&read(body)?).map(|()| nothing),
        "/NetworkDriver.Join" => answer(&calls.join(&read(body)?)?),
        // Docker gives the slave back behind this call, and then has the endpoint deleted.
        "/NetworkDriver.Leave" => ids(&read(body)?).map(|_owners| nothing),
        "/NetworkDriver.ProgramExternalConnectivity"
        | "/NetworkDriver.RevokeExternalConnectivity"
        | "/NetworkDriver.DiscoverNew"
        | "/NetworkDriver.DiscoverDelete" => Ok(nothing),
        _ => Err(CallError::Unknown(path.to_owned())),
    }
}

fn read<'de, T: Deserialize<'de>>(body: &'de [u8]) -> Result<T, CallError> {
    if body.is_empty() {
        // As Docker's client does (moby 20.10, pkg/plugins/client.go): its first try has used the body up.
        return refuse(
            "the driver was stopped during this call, and Docker tries again without what it asked for: repeat the command",
        );
    }
    Ok(serde_json::from_slice(body)?)
}

fn answer(value: &impl Serialize) -> Result<Value, CallError> {
    Ok(serde_json::to_value(value)?)
}

struct Calls<'a> {
    root: &'a Root,
    warn: &'a dyn Fn(&[String]),
}

impl Calls<'_> {
    fn session<T>(&self, work: impl FnOnce(&mut Session) -> Result<T, CallError>) -> Result<T, CallError> {
        let mut session = Session::begin(self.root)?;
        let result = work(&mut session);
        (self.warn)(&session.take_warnings());
        result
    }

    /// What couldn't be removed is an error: Docker shows the first, or tries again.
    fn complete(&self, left: Vec<Error>) -> Result<(), CallError> {
        let mut left = left.into_iter();
        let Some(first) = left.next() else { return Ok(()) };
        let others: Vec<_> = left.map(|error| error.to_string()).collect();
        (self.warn)(&others);
        Err(first.into())
    }

    fn create_network(&self, request: &CreateNetwork) -> Result<(), CallError> {
        let spec = NetworkSpec::parse(&raw_network(request)?)?;
        self.session(|session| {
            session.require_handover()?;
            let known = spec.owner.as_ref().map(|owner| session.network_of(owner)).transpose()?.flatten();
            if known.is_some() {
                return Ok(());
            }
            loop {
                match session.create_network(spec.clone(), None) {
                    // Docker gives no subnet twice: it has given that network up and couldn't tell.
                    Err(Error::Overlap { network, .. })
                        if session.is_given_up(&network, Engine::Docker)? =>
                    {
                        let left = session.remove_network(&network, true)?;
                        self.complete(left)?;
                    }
                    created => return Ok(created?),
                }
            }
        })
    }

    fn delete_network(&self, request: &Network) -> Result<(), CallError> {
        let owner = network_id(&request.network_id)?;
        self.session(|session| {
            let Some(network) = session.network_of(&owner)? else { return Ok(()) };
            // Docker has none of its endpoints left: those that are still here it couldn't delete.
            let left = session.remove_network(network.spec.name.as_str(), true)?;
            self.complete(left)
        })
    }

    fn create_endpoint(&self, request: &CreateEndpoint) -> Result<(), CallError> {
        let (network, owner) = ids(&request.endpoint)?;
        let interface = &request.interface;
        if !interface.mac_address.is_empty() {
            return Err(Invalid::Mac(interface.mac_address.clone()).into());
        }
        self.session(|session| {
            let Some(spec) = session.network_of(&network)?.map(|network| network.spec) else {
                return refuse(format!("network id \"{}\" not found", network.id));
            };
            let address = |family, ipv4, text: &str| match (text.is_empty(), spec.has_family(ipv4)) {
                (true, true) => {
                    refuse(format!("could not find a valid {family} subnet for endpoint {}", owner.id))
                }
                (true, false) => Ok(None),
                (false, _) => host_of(&spec, text).map(Some),
            };
            let request = AttachRequest {
                network: spec.name.to_string(),
                name: Some(short(&owner.id)),
                ip: address("ipv4", true, &interface.address)?,
                ip6: address("ipv6", false, &interface.address_ipv6)?,
                host_access: parse_switch(HOST_ACCESS, request.user_option(HOST_ACCESS), false)?,
                ..AttachRequest::default()
            };
            if session.endpoint_of(&owner)?.is_none() {
                session.offer(&request, owner)?;
            }
            Ok(())
        })
    }

    fn known(&self, request: &Endpoint) -> Result<(), CallError> {
        let (_, owner) = ids(request)?;
        self.session(|session| match session.endpoint_of(&owner)? {
            Some(_) => Ok(()),
            None => no_endpoint(&owner),
        })
    }

    fn delete_endpoint(&self, request: &Endpoint) -> Result<(), CallError> {
        let (_, owner) = ids(request)?;
        self.session(|session| {
            let Some(endpoint) = session.endpoint_of(&owner)? else { return Ok(()) };
            let left = session.detach(endpoint.name.as_str(), true)?;
            self.complete(left)
        })
    }

    fn join(&self, request: &Join) -> Result<Joined, CallError> {
        let (network, owner) = ids(&request.endpoint)?;
        let netns = PathBuf::from(&request.sandbox_key);
        if request.has_ports() {
            let name = short(&owner.id);
            (self.warn)(&[format!(
                "endpoint '{name}': published ports are ignored, it is on the LAN itself"
            )]);
        }
        self.session(|session| {
            if session.network_of(&network)?.is_none() {
                return refuse(format!("network not found: {}", network.id));
            }
            if session.endpoint_of(&owner)?.is_none() {
                return no_endpoint(&owner);
            }
            let label = label(&netns);
            Ok(joined(session.hand_over(&owner, label, netns)?))
        })
    }
}

fn no_endpoint<T>(owner: &Owner) -> Result<T, CallError> {
    refuse(format!("could not find endpoint with id {}", owner.id))
}

/// What we call the namespace of a container: by its sandbox, since Docker doesn't say here whose it is.
fn label(netns: &Path) -> String {
    let name = netns.file_name().map(|name| name.to_string_lossy());
    format!("docker:{}", name.unwrap_or_default())
}

fn short(id: &str) -> String {
    id.get(..SHORT).unwrap_or(id).to_owned()
}

fn network_id(id: &str) -> Result<Owner, CallError> {
    if id.is_empty() { refuse("invalid network id") } else { Ok(owner(id)) }
}

/// The network and the endpoint.
fn ids(request: &Endpoint) -> Result<(Owner, Owner), CallError> {
    let network = network_id(&request.network_id)?;
    if request.endpoint_id.is_empty() {
        return refuse("invalid endpoint id");
    }
    Ok((network, owner(&request.endpoint_id)))
}

fn owner(id: &str) -> Owner {
    Owner { engine: Engine::Docker, id: id.to_owned() }
}

/// A network as the command line would have it.
pub(super) fn raw_network(request: &CreateNetwork) -> Result<RawNetwork, CallError> {
    let owner = network_id(&request.network_id)?;
    let mut raw = RawNetwork { name: short(&owner.id), owner: Some(owner), ..RawNetwork::default() };
    raw.internal = request.is_internal();
    let options = request
        .user_options()
        .or_else(|found| refuse(format!("unrecognized network configuration format: {found}")))?;
    for (key, value) in options {
        match key {
            // The same as none, to the built-in driver.
            "parent" | "ipvlan_mode" | "ipvlan_flag" if value.is_empty() => {}
            MTU => raw.options.push(format!("mtu={value}")),
            _ => raw.options.push(format!("{key}={value}")),
        }
    }
    for (family, pools) in [("ipv4", &request.ipv4_data), ("ipv6", &request.ipv6_data)] {
        for IpamData { pool, gateway, aux_addresses } in pools {
            if pool.is_empty() || pool.ends_with("/0") {
                return refuse(format!("{family} pool is empty"));
            }
            raw.subnets.push(pool.clone());
            raw.gateways.extend((!gateway.is_empty()).then(|| without_prefix(gateway)));
            let aux =
                aux_addresses.iter().map(|(name, address)| format!("{name}={}", without_prefix(address)));
            raw.aux_addresses.extend(aux);
        }
    }
    // Else a subnet would be chosen that Docker doesn't know.
    if raw.subnets.is_empty() { refuse("ipv4 pool is empty") } else { Ok(raw) }
}

fn without_prefix(address: &str) -> String {
    address.split('/').next().unwrap_or_default().to_owned()
}

/// The address of an interface, which must have its subnet's prefix length.
fn host_of(spec: &NetworkSpec, text: &str) -> Result<String, CallError> {
    let Ok(given) = text.parse::<IpNet>() else {
        return refuse(format!("invalid address '{text}': not an address with a prefix length"));
    };
    match spec.pool_of(given.addr()) {
        Some(pool) if pool.subnet.prefix_len() != given.prefix_len() => {
            refuse(format!("invalid address {given}: its subnet is {}", pool.subnet))
        }
        _ => Ok(given.addr().to_string()),
    }
}

fn joined(Offered { ifname, routes }: Offered) -> Joined {
    let mut joined = Joined {
        interface_name: InterfaceName { src_name: ifname, dst_prefix: PREFIX },
        disable_gateway_service: true,
        ..Joined::default()
    };
    for route in routes {
        match route {
            DefaultRoute::Via(gateway) if gateway.is_ipv4() => joined.gateway = Some(gateway.to_string()),
            DefaultRoute::Via(gateway) => joined.gateway_ipv6 = Some(gateway.to_string()),
            DefaultRoute::Connected { ipv4 } => joined.static_routes.push(StaticRoute {
                destination: if ipv4 { "0.0.0.0/0" } else { "::/0" },
                route_type: StaticRoute::CONNECTED,
                next_hop: "",
            }),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_gets_an_interface_and_its_routes() {
        let offered = |routes| Offered { ifname: "ipvlan1".into(), routes };
        let answer = |routes| serde_json::to_value(joined(offered(routes))).unwrap();
        let name = json!({"SrcName": "ipvlan1", "DstPrefix": "eth"});
        assert_eq!(answer(Vec::new()), json!({"InterfaceName": name, "DisableGatewayService": true}));
        let gateways = ["10.66.0.1", "fd00:68::1"].map(|text| DefaultRoute::Via(text.parse().unwrap()));
        assert_eq!(
            answer(gateways.to_vec()),
            json!({"InterfaceName": name, "Gateway": "10.66.0.1", "GatewayIPv6": "fd00:68::1", "DisableGatewayService": true})
        );
        let connected = [true, false].map(|ipv4| DefaultRoute::Connected { ipv4 });
        let route = |destination| json!({"Destination": destination, "RouteType": 1, "NextHop": ""});
        assert_eq!(
            answer(connected.to_vec()),
            json!({"InterfaceName": name, "StaticRoutes": [route("0.0.0.0/0"), route("::/0")], "DisableGatewayService": true})
        );
    }

    #[test]
    fn addresses_have_their_subnets_prefix() {
        let raw = RawNetwork {
            name: "n".into(),
            subnets: vec!["10.66.0.0/24".into()],
            options: vec!["parent=eth0".into()],
            ..RawNetwork::default()
        };
        let spec = NetworkSpec::parse(&raw).unwrap();
        let host = |text| host_of(&spec, text).map_err(|error| error.text());
        assert_eq!(host("10.66.0.2/24"), Ok("10.66.0.2".into()));
        assert_eq!(
            host("10.66.0.2/16"),
            Err("invalid address 10.66.0.2/16: its subnet is 10.66.0.0/24".into())
        );
        assert!(host("x").is_err());
    }

    #[test]
    fn names_and_labels() {
        assert_eq!(short("0123456789abcdef"), "0123456789ab");
        assert_eq!(short("0"), "0");
        assert_eq!(label(Path::new("/var/run/docker/netns/cdc4")), "docker:cdc4");
    }
}
