//! What Docker 20.10.24 sends, recorded, through the router; what needs a kernel with ipvlan is in the suite `docker`.

use http_body_util::BodyExt as _;
use ipnet::IpNet;
use serde_json::Value;

use super::{driver::raw_network, message::*, *};
use crate::model::{Flag, Mode, NetworkSpec};

const NETWORK: &str = "74fa00000000a1b2c3d4e5f60718293a4b5c6d7e8f9001122334455667788990";
const ENDPOINT: &str = "bd8100000000a1b2c3d4e5f60718293a4b5c6d7e8f9001122334455667788990";

/// As recorded; `-o` is written as `generic`.
fn create(generic: &str, internal: bool) -> String {
    let internal = if internal { r#","com.docker.network.internal":true"# } else { "" };
    format!(
        r#"{{"NetworkID":"{NETWORK}","Options":{{"com.docker.network.enable_ipv6":false,"com.docker.network.generic":{generic}{internal}}},"IPv4Data":[{{"AddressSpace":"LocalDefault","Gateway":"10.66.0.1/24","Pool":"10.66.0.0/24","AuxAddresses":{{"nas":"10.66.0.9/24"}}}}],"IPv6Data":[{{"AddressSpace":"LocalDefault","Gateway":"fd00:68::1/64","Pool":"fd00:68::/64"}}]}}"#
    )
}

fn post(path: &str, body: &str) -> (StatusCode, Value) {
    request(Method::POST, path, body)
}

fn request(method: Method, path: &str, body: &str) -> (StatusCode, Value) {
    let directory = tempfile::tempdir().unwrap();
    let root = Root::new(Some(&directory.path().join("root")), None).unwrap();
    let driver = Arc::new(Driver { root, warn: Box::new(|_| {}) });
    // No Content-Type, as Docker sends none.
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("Accept", "application/vnd.docker.plugins.v1.2+json")
        .body(Full::<Bytes>::from(body.to_owned()))
        .unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let response = respond(driver, request).await.unwrap();
        let status = response.status();
        assert_eq!(response.headers()[CONTENT_TYPE], MEDIA_TYPE);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap())
    })
}

fn ids() -> String {
    format!(r#"{{"NetworkID":"{NETWORK}","EndpointID":"{ENDPOINT}"}}"#)
}

#[test]
fn what_needs_no_state_is_answered_at_once() {
    for (path, body, answer) in [
        ("/Plugin.Activate", "", json!({"Implements": ["NetworkDriver"]})),
        (
            "/NetworkDriver.GetCapabilities",
            "",
            json!({"Scope": "local", "ConnectivityScope": "global", "GwAllocChecker": false}),
        ),
        ("/NetworkDriver.GwAllocCheck", r#"{"Options":{}}"#, json!({"SkipIPv4": false, "SkipIPv6": false})),
        ("/NetworkDriver.Leave", &ids(), json!({})),
        ("/NetworkDriver.ProgramExternalConnectivity", &ids(), json!({})),
        ("/NetworkDriver.RevokeExternalConnectivity", &ids(), json!({})),
        ("/NetworkDriver.DiscoverNew", r#"{"DiscoveryType":1,"DiscoveryData":{}}"#, json!({})),
        ("/NetworkDriver.DiscoverDelete", r#"{"DiscoveryType":1,"DiscoveryData":{}}"#, json!({})),
    ] {
        assert_eq!(post(path, body), (StatusCode::OK, answer), "{path}");
    }
}

#[test]
fn refusals() {
    let leave = "/NetworkDriver.Leave";
    let create_network = "/NetworkDriver.CreateNetwork";
    for (path, body, status, message) in [
        (
            "/NetworkDriver.AllocateNetwork",
            "{}".to_owned(),
            StatusCode::NOT_FOUND,
            "is no call of this driver",
        ),
        ("/", String::new(), StatusCode::NOT_FOUND, "/ is no call of this driver"),
        (leave, String::new(), StatusCode::OK, "repeat the command"),
        (leave, "{".into(), StatusCode::BAD_REQUEST, "can't read the request: EOF"),
        (leave, r#"{"NetworkID":"","EndpointID":"b"}"#.into(), StatusCode::OK, "invalid network id"),
        (leave, r#"{"NetworkID":"a","EndpointID":""}"#.into(), StatusCode::OK, "invalid endpoint id"),
        (
            create_network,
            create(r#"{"parent":"eth0","ipvlan_mode":"l9"}"#, false),
            StatusCode::OK,
            "requested ipvlan mode 'l9' is not valid; valid modes: l2 (the default), l3, l3s",
        ),
        (
            create_network,
            create(r#"{"parent":"eth0","ipvlan_flag":"x"}"#, false),
            StatusCode::OK,
            "requested ipvlan flag 'x' is not valid; valid flags: bridge (the default), private, vepa",
        ),
        (
            create_network,
            create(r#"{"parent":"lo"}"#, false),
            StatusCode::OK,
            "loopback interface is not a valid ipvlan parent link; use the interface",
        ),
        (
            create_network,
            create(r#"{"parent":"eth0","mode":"l2"}"#, false),
            StatusCode::OK,
            "unknown network option 'mode'; valid options: parent, ipvlan_mode",
        ),
        (
            create_network,
            create("[]", false),
            StatusCode::OK,
            "unrecognized network configuration format: []",
        ),
        (
            create_network,
            create("{}", false).replace("10.66.0.0/24", "0.0.0.0/0"),
            StatusCode::OK,
            "ipv4 pool is empty",
        ),
        (
            create_network,
            format!(r#"{{"NetworkID":"{NETWORK}","Options":{{}},"IPv4Data":null,"IPv6Data":[]}}"#),
            StatusCode::OK,
            "ipv4 pool is empty",
        ),
        (
            "/NetworkDriver.CreateEndpoint",
            format!(
                r#"{{"NetworkID":"{NETWORK}","EndpointID":"{ENDPOINT}","Interface":{{"Address":"10.66.0.2/24","AddressIPv6":"","MacAddress":"02:00:00:00:00:09"}},"Options":{{}}}}"#
            ),
            StatusCode::OK,
            "invalid --mac '02:00:00:00:00:09': ipvlan interfaces do not support custom mac address assignment",
        ),
    ] {
        let (found, answer) = post(path, &body);
        let text = answer["Err"].as_str().unwrap_or_default();
        assert_eq!(found, status, "{path} {body}: {answer}");
        assert!(text.contains(message) && text.lines().count() == 1, "{path} {body}: {text}");
    }
    assert_eq!(request(Method::GET, "/Plugin.Activate", "").0, StatusCode::METHOD_NOT_ALLOWED);
}

#[test]
fn a_request_without_an_end_is_cut_off() {
    let (status, answer) = post("/NetworkDriver.Leave", &" ".repeat(MAX_BODY + 1));
    assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
}

fn spec(request: &str) -> NetworkSpec {
    let request: CreateNetwork = serde_json::from_str(request).unwrap();
    NetworkSpec::parse(&raw_network(&request).unwrap()).unwrap()
}

#[test]
fn options_mean_what_they_mean_in_docker() {
    let network = spec(&create(
        r#"{"parent":"eth0","ipvlan_mode":"l3","ipvlan_flag":"private","com.docker.network.driver.mtu":"1400"}"#,
        false,
    ));
    assert_eq!(network.name.as_str(), &NETWORK[..12]);
    assert_eq!(network.owner.as_ref().unwrap().to_string(), format!("docker:{NETWORK}"));
    assert_eq!((network.mode, network.flag, network.mtu), (Mode::L3, Flag::Private, Some(1400)));
    assert!(!network.internal);
    let [four, six] = &network.pools[..] else { panic!("{:?}", network.pools) };
    assert_eq!((four.subnet, four.gateway), ("10.66.0.0/24".parse().unwrap(), "10.66.0.1".parse().unwrap()));
    assert_eq!(four.aux["nas"].to_string(), "10.66.0.9");
    assert_eq!(six.subnet, "fd00:68::/64".parse::<IpNet>().unwrap());

    assert!(spec(&create(r#"{"parent":"eth0"}"#, true)).internal);
    for generic in ["{}", "null", r#"{"parent":"","ipvlan_mode":""}"#] {
        let network = spec(&create(generic, false));
        assert_eq!((network.parent, network.internal, network.mode), (None, true, Mode::L2), "{generic}");
    }
}

#[test]
fn what_is_recorded_is_read() {
    let join: Join = serde_json::from_str(&format!(
        r#"{{"NetworkID":"{NETWORK}","EndpointID":"{ENDPOINT}","SandboxKey":"/var/run/docker/netns/cdc4d82f968d","Options":{{"com.docker.network.endpoint.exposedports":[{{"Proto":6,"Port":80}}],"com.docker.network.portmap":[{{"Proto":6,"IP":"","Port":80,"HostIP":"","HostPort":8080,"HostPortEnd":8080}}]}}}}"#
    ))
    .unwrap();
    assert_eq!((join.sandbox_key.as_str(), join.has_ports()), ("/var/run/docker/netns/cdc4d82f968d", true));
    let endpoint: CreateEndpoint = serde_json::from_str(&format!(
        r#"{{"NetworkID":"{NETWORK}","EndpointID":"{ENDPOINT}","Interface":{{"Address":"10.66.0.2/24","AddressIPv6":"","MacAddress":""}},"Options":{{}}}}"#
    ))
    .unwrap();
    assert_eq!(endpoint.interface.address, "10.66.0.2/24");
    assert_eq!(endpoint.endpoint.endpoint_id, ENDPOINT);
}
