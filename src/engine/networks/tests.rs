//! The network service on a real kernel, in a "host" namespace of the test's own: nothing of the machine is touched.
//! Containers are namespaces in which the test runs a function; a neighbour is a namespace on the same wire.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::path::Path;
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};

use super::*;
use crate::engine::networks::etc_files::RESOLVER_ADDRESS;
use crate::sys::netlink::{Request, VethPair};
use crate::sys::netns;
use crate::sys::nftables::{Base, ChainKind, Change, Family, Hook, Rule, Table, Verdict};

/// Longer than any answer takes; a test that waits this long has failed.
const TOO_LONG: Duration = Duration::from_secs(10);
/// A connection that the firewall drops is not answered at all.
const DROPPED: Duration = Duration::from_millis(300);

struct Host {
    networks: Arc<Networks>,
    paths: Paths,
    runtime: tokio::runtime::Runtime,
    folder: tempfile::TempDir,
}

/// Runs `test` in a fresh host namespace with an engine's network service, and looks afterwards that nothing is left.
fn on_host(test: impl FnOnce(&mut Host) + Send) {
    netns::create(|| {
        RouteSocket::open()?.batch(&[Request::link_up(1)])?;
        let folder = tempfile::tempdir()?;
        let paths = Paths::new(folder.path().join("data"), folder.path().join("run"));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let networks = open(&paths, &runtime);
        let mut host = Host {
            networks,
            paths,
            runtime,
            folder,
        };
        test(&mut host);
        host.networks.close().unwrap();
        nothing_is_left(&host);
        Ok(())
    })
    .unwrap();
}

fn open(paths: &Paths, runtime: &tokio::runtime::Runtime) -> Arc<Networks> {
    let events = Arc::new(EventBus::new());
    Networks::open(paths, events, runtime.handle().clone()).unwrap()
}

fn nothing_is_left(host: &Host) {
    let links = RouteSocket::open().unwrap().links().unwrap();
    let names: Vec<_> = links.iter().map(|link| link.name.as_str()).collect();
    let ours = names.iter().filter(|name| {
        name.starts_with("br-") || name.starts_with("veth") || name.starts_with("pr-")
    });
    assert_eq!(ours.count(), 0, "{names:?}");
    let mut nft = NftSocket::open().unwrap();
    assert_eq!(nft.tables(Family::Inet).unwrap(), Vec::<String>::new());
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    let root = host.folder.path().to_str().unwrap();
    assert!(!mounts.contains(root), "a namespace is still pinned");
}

impl Host {
    /// The engine dies and another one starts on the same roots.
    fn restart(&mut self) {
        let networks = open(&self.paths, &self.runtime);
        self.networks = networks;
    }

    fn network(&self, name: &str, adjust: impl FnOnce(&mut NetworkConfig)) -> Network {
        let mut config = NetworkConfig {
            name: name.to_owned(),
            driver: String::new(),
            internal: false,
            attachable: false,
            enable_ipv4: true,
            enable_ipv6: false,
            ipam: IpamConfig::default(),
            options: BTreeMap::new(),
            labels: BTreeMap::new(),
        };
        adjust(&mut config);
        self.networks.create(config).unwrap()
    }

    fn container(&self, id: &str) {
        self.container_of(id, SandboxKind::Isolated);
    }

    fn container_of(&self, id: &str, kind: SandboxKind) {
        let config = SandboxConfig {
            kind,
            container_name: format!("shop-{id}-1"),
            project: Some("shop".to_owned()),
            hostname: id.to_owned(),
            domainname: String::new(),
            extra_hosts: vec!["gate:host-gateway".to_owned()],
            dns: Vec::new(),
            dns_search: Vec::new(),
            dns_options: Vec::new(),
        };
        self.networks.create_sandbox(id, config).unwrap();
    }

    fn join(&self, id: &str, network: &str) -> Ipv4Addr {
        let config = EndpointConfig {
            aliases: vec![id.to_owned()],
            ..EndpointConfig::default()
        };
        let endpoint = self.networks.join(id, network, config).unwrap();
        endpoint.ipv4.unwrap().0
    }

    fn inside<T: Send>(&self, id: &str, work: impl FnOnce() -> T + Send) -> T {
        let path = self.networks.sandbox(id).unwrap().netns_path.unwrap();
        inside(&path, work)
    }

    fn publish(&self, id: &str, host_ip: Option<&str>, host_port: u16) -> Result<Vec<PortBinding>> {
        let request = PortRequest {
            container_port: 80,
            protocol: Protocol::Tcp,
            host_ip: host_ip.map(|text| text.parse().unwrap()),
            host_ports: (host_port, host_port),
        };
        self.networks.publish(id, &[request])
    }
}

fn inside<T: Send>(path: &Path, work: impl FnOnce() -> T + Send) -> T {
    let handle = netns::open(path).unwrap();
    netns::enter(handle.as_fd(), || Ok(work())).unwrap()
}

/// Answers `hello` to `count` connections on port 80 of a container.
fn serve(host: &Host, id: &str, count: usize) -> std::thread::JoinHandle<()> {
    let listener = host.inside(id, || TcpListener::bind("0.0.0.0:80").unwrap());
    std::thread::spawn(move || {
        for _ in 0..count {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(b"hello").unwrap();
        }
    })
}

fn fetch(address: impl Into<IpAddr>, port: u16, patience: Duration) -> std::io::Result<String> {
    let address = SocketAddr::new(address.into(), port);
    let mut stream = TcpStream::connect_timeout(&address, patience)?;
    stream.set_read_timeout(Some(TOO_LONG))?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

fn ask(name: &str, kind: RecordType) -> Message {
    let mut query = Message::new(4711, MessageType::Query, OpCode::Query);
    query.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(TOO_LONG)).unwrap();
    socket.connect((RESOLVER_ADDRESS, 53)).unwrap();
    socket.send(&query.to_vec().unwrap()).unwrap();
    let mut buffer = [0; 1500];
    let length = socket.recv(&mut buffer).unwrap();
    Message::from_vec(&buffer[..length]).unwrap()
}

fn resolve(name: &str) -> Vec<IpAddr> {
    let mut found: Vec<IpAddr> = ask(name, RecordType::A)
        .answers
        .iter()
        .filter_map(|record| match &record.data {
            RData::A(a) => Some(IpAddr::V4(a.0)),
            _ => None,
        })
        .collect();
    found.sort();
    found
}

/// A machine on the same wire as the host, which is 203.0.113.1 there; it routes everything through the host.
fn neighbour() -> OwnedFd {
    let mut route = RouteSocket::open().unwrap();
    let wan = Request::new_bridge("wan0", [2, 0, 0, 0, 0, 1], 1500, 0);
    route.batch(&[wan]).unwrap();
    let wan = route.link("wan0").unwrap().unwrap().index;
    let address = IpAddr::from([203, 0, 113, 1]);
    route
        .batch(&[Request::add_address(wan, address, 24)])
        .unwrap();
    let (handle, mut inner) = netns::create(RouteSocket::open).unwrap();
    let pair = VethPair {
        host_name: "wan0p",
        bridge_index: wan,
        peer_name: "eth0",
        peer_netns: handle.as_raw_fd(),
        peer_mac: [2, 0, 0, 0, 0, 2],
        mtu: 1500,
        group: 0,
    };
    route.batch(&[Request::new_veth(&pair)]).unwrap();
    let eth0 = inner.link("eth0").unwrap().unwrap().index;
    inner
        .batch(&[
            Request::add_address(eth0, IpAddr::from([203, 0, 113, 2]), 24),
            Request::link_up(eth0),
            Request::set_default_route(address),
        ])
        .unwrap();
    handle
}

fn at<T: Send>(netns: &OwnedFd, work: impl FnOnce() -> T + Send) -> T {
    netns::enter(netns.as_fd(), || Ok(work())).unwrap()
}

#[test]
fn containers_of_a_network_find_each_other_by_name() {
    on_host(|host| {
        host.network("front", |_| {});
        host.network("back", |_| {});
        for id in ["web", "db", "far"] {
            host.container(id);
        }
        let web = host.join("web", "front");
        let db = host.join("db", "front");
        host.join("far", "back");
        let server = serve(host, "db", 1);
        let answers = host.inside("web", || {
            assert_eq!(resolve("db."), [IpAddr::V4(db)]);
            assert_eq!(resolve("shop-db-1."), [IpAddr::V4(db)]);
            assert_eq!(resolve("SHOP-WEB-1.front."), [IpAddr::V4(web)]);
            fetch(db, 80, TOO_LONG).unwrap()
        });
        assert_eq!(answers, "hello");
        server.join().unwrap();
        // The other network knows neither the name nor the way.
        host.inside("far", || {
            // Only this kind of name is never forwarded to the machine's own servers.
            assert_eq!(resolve("host.docker.internal.").len(), 1);
            assert!(fetch(db, 80, DROPPED).is_err());
        });
        let hosts = std::fs::read_to_string(host.networks.sandbox("web").unwrap().hosts_path);
        let hosts = hosts.unwrap();
        assert!(hosts.contains(&format!("{web}\tweb\n")), "{hosts}");
        assert!(hosts.contains("\tgate\n"), "{hosts}");
        for id in ["web", "db", "far"] {
            host.networks.remove_sandbox(id).unwrap();
        }
    });
}

#[test]
fn an_internal_network_has_no_way_out_and_no_names_from_outside() {
    on_host(|host| {
        let network = host.network("inner", |config| config.internal = true);
        host.container("web");
        host.join("web", "inner");
        host.inside("web", || {
            let message = ask("example.org.", RecordType::A);
            assert_eq!(message.metadata.response_code, ResponseCode::NXDomain);
            let error =
                TcpStream::connect_timeout(&SocketAddr::from(([203, 0, 113, 2], 80)), TOO_LONG)
                    .unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::NetworkUnreachable);
        });
        assert!(host.publish("web", None, 0).unwrap().is_empty());
        let error = host.networks.remove(&network.id).unwrap_err();
        assert!(error.message.contains("has active endpoints"), "{error}");
        host.networks.remove_sandbox("web").unwrap();
        host.networks.remove("inner").unwrap();
    });
}

#[test]
fn a_published_port_answers_locally_outside_and_to_other_networks() {
    on_host(|host| {
        let outside = neighbour();
        host.network("front", |_| {});
        host.network("back", |_| {});
        for id in ["web", "far"] {
            host.container(id);
        }
        let web = host.join("web", "front");
        host.join("far", "back");
        let server = serve(host, "web", 4);
        let bindings = host.publish("web", None, 8080).unwrap();
        assert_eq!(bindings[0].host_port, 8080);
        let host_address = Ipv4Addr::new(203, 0, 113, 1);
        assert_eq!(fetch(Ipv4Addr::LOCALHOST, 8080, TOO_LONG).unwrap(), "hello");
        assert_eq!(fetch(host_address, 8080, TOO_LONG).unwrap(), "hello");
        at(&outside, || {
            assert_eq!(fetch(host_address, 8080, TOO_LONG).unwrap(), "hello");
            // The container's own address is for its network alone.
            assert!(fetch(web, 80, DROPPED).is_err());
        });
        host.inside("far", || {
            assert_eq!(fetch(host_address, 8080, TOO_LONG).unwrap(), "hello");
        });
        server.join().unwrap();
        let error = host.publish("far", None, 8080).unwrap_err();
        assert!(
            error
                .message
                .contains("published by container shop-web-1 (project shop)"),
            "{error}"
        );
        host.networks.remove_sandbox("web").unwrap();
        host.publish("far", None, 8080).unwrap();
        host.networks.remove_sandbox("far").unwrap();
    });
}

#[test]
fn loopback_ports_stay_on_loopback() {
    on_host(|host| {
        let outside = neighbour();
        host.network("front", |_| {});
        host.container("web");
        host.join("web", "front");
        let server = serve(host, "web", 1);
        host.publish("web", Some("127.0.0.1"), 8080).unwrap();
        at(&outside, || {
            assert!(fetch(Ipv4Addr::new(203, 0, 113, 1), 8080, DROPPED).is_err());
            assert!(fetch(Ipv4Addr::LOCALHOST, 8080, DROPPED).is_err());
        });
        assert_eq!(fetch(Ipv4Addr::LOCALHOST, 8080, TOO_LONG).unwrap(), "hello");
        server.join().unwrap();
        host.networks.remove_sandbox("web").unwrap();
    });
}

/// Docker drops what it does not know in FORWARD; its users' chain comes first.
fn docker_like_policy() -> Table {
    let table = Table {
        family: Family::Ipv4,
        name: "filter".to_owned(),
    };
    let chain = |name: &str, base| Change::AddChain(table.clone(), name.to_owned(), base);
    let rule = |verdict| {
        Change::AppendRule(
            table.clone(),
            "FORWARD".to_owned(),
            Rule::new(Vec::new(), verdict),
        )
    };
    let forward = Base {
        kind: ChainKind::Filter,
        hook: Hook::Forward,
        priority: 0,
    };
    let changes = [
        Change::AddTable(table.clone()),
        chain("DOCKER-USER", None),
        chain("FORWARD", Some(forward)),
        rule(Verdict::Jump("DOCKER-USER".to_owned())),
        rule(Verdict::Drop),
    ];
    NftSocket::open().unwrap().commit(&changes).unwrap();
    table
}

#[test]
fn traffic_passes_beside_a_running_docker_and_its_chain_is_clean_afterwards() {
    let mut rules = Vec::new();
    on_host(|host| {
        let outside = neighbour();
        let table = docker_like_policy();
        host.network("front", |_| {});
        host.container("web");
        host.join("web", "front");
        let listener = at(&outside, || TcpListener::bind("203.0.113.2:80").unwrap());
        let server = std::thread::spawn(move || {
            let (mut stream, from) = listener.accept().unwrap();
            stream.write_all(from.ip().to_string().as_bytes()).unwrap();
        });
        // Outward, under the host's address.
        let seen = host.inside("web", || {
            fetch(Ipv4Addr::new(203, 0, 113, 2), 80, TOO_LONG).unwrap()
        });
        assert_eq!(seen, "203.0.113.1");
        server.join().unwrap();
        // And inward.
        let server = serve(host, "web", 1);
        host.publish("web", None, 8080).unwrap();
        at(&outside, || {
            fetch(Ipv4Addr::new(203, 0, 113, 1), 8080, TOO_LONG).unwrap();
        });
        server.join().unwrap();
        host.networks.remove_sandbox("web").unwrap();
        host.networks.close().unwrap();
        rules = NftSocket::open()
            .unwrap()
            .rules(&table, "DOCKER-USER")
            .unwrap();
    });
    assert_eq!(rules, []);
}

#[test]
fn a_docker_that_starts_later_does_not_stop_the_traffic() {
    on_host(|host| {
        host.network("front", |_| {});
        let table = docker_like_policy();
        let mut nft = NftSocket::open().unwrap();
        let started = std::time::Instant::now();
        while nft.rules(&table, "DOCKER-USER").unwrap().is_empty() {
            assert!(started.elapsed() < TOO_LONG, "the new chain went unseen");
            std::thread::yield_now();
        }
        assert_eq!(nft.rules(&table, "DOCKER-USER").unwrap().len(), 2);
    });
}

#[test]
fn a_container_joins_and_leaves_while_it_runs() {
    on_host(|host| {
        host.network("a", |_| {});
        host.network("b", |_| {});
        host.container("web");
        host.container("db");
        host.join("web", "a");
        host.join("db", "b");
        let b = host.join("web", "b");
        let endpoints = host.networks.endpoints("web");
        let names: Vec<_> = endpoints.iter().map(|e| e.ifname.as_str()).collect();
        assert_eq!(names, ["eth0", "eth1"]);
        assert_eq!(host.inside("db", || resolve("web.")), [IpAddr::V4(b)]);
        let error = host
            .networks
            .join("web", "b", EndpointConfig::default())
            .unwrap_err();
        assert!(error.message.contains("already exists in network b"));
        host.networks.leave("web", "a").unwrap();
        let links = host.inside("web", || RouteSocket::open().unwrap().links().unwrap());
        let names: Vec<_> = links.iter().map(|link| link.name.as_str()).collect();
        assert_eq!(names, ["lo", "eth1"]);
        // The default route moved to the network that is left.
        let b_index = links[1].index;
        let route = host.inside("web", || {
            RouteSocket::open().unwrap().default_link_index().unwrap()
        });
        assert_eq!(route, Some(b_index));
        host.networks.rename("web", "front-1").unwrap();
        assert_eq!(host.inside("db", || resolve("front-1.")), [IpAddr::V4(b)]);
        assert!(host.networks.leave("web", "a").is_err());
        host.networks.remove_sandbox("web").unwrap();
        host.networks.remove_sandbox("db").unwrap();
    });
}

#[test]
fn the_network_of_the_highest_priority_gives_the_default_route() {
    on_host(|host| {
        host.network("a", |_| {});
        let b = host.network("b", |_| {});
        host.container("web");
        host.join("web", "a");
        let config = EndpointConfig {
            gw_priority: 1,
            ifname: Some("up0".to_owned()),
            mac: Some("02:00:00:00:00:99".to_owned()),
            ..EndpointConfig::default()
        };
        let endpoint = host.networks.join("web", &b.id[..12], config).unwrap();
        assert_eq!(endpoint.mac, "02:00:00:00:00:99");
        let (route, link) = host.inside("web", || {
            let mut socket = RouteSocket::open().unwrap();
            let route = socket.default_link_index().unwrap();
            (route, socket.link("up0").unwrap().unwrap().index)
        });
        assert_eq!(route, Some(link));
        host.networks.remove_sandbox("web").unwrap();
    });
}

#[test]
fn addresses_can_be_asked_for_and_are_given_back() {
    on_host(|host| {
        host.network("net", |config| {
            config.enable_ipv6 = true;
            config.ipam.config = vec![
                IpamPool {
                    subnet: Some("10.77.0.0/24".to_owned()),
                    ..IpamPool::default()
                },
                IpamPool {
                    subnet: Some("fd77::/64".to_owned()),
                    ..IpamPool::default()
                },
            ];
        });
        let static_address = || EndpointConfig {
            ipv4: Some(Ipv4Addr::new(10, 77, 0, 9)),
            ipv6: Some("fd77::9".parse().unwrap()),
            ..EndpointConfig::default()
        };
        host.container("web");
        host.container("other");
        host.networks.join("web", "net", static_address()).unwrap();
        let error = host
            .networks
            .join("other", "net", static_address())
            .unwrap_err();
        assert!(error.message.contains("Address already in use"), "{error}");
        // Over IPv6, from the host and from the other container.
        let listener = host.inside("web", || TcpListener::bind("[::]:80").unwrap());
        let server = std::thread::spawn(move || {
            for _ in 0..2 {
                listener.accept().unwrap().0.write_all(b"six").unwrap();
            }
        });
        let address: IpAddr = "fd77::9".parse().unwrap();
        assert_eq!(fetch(address, 80, TOO_LONG).unwrap(), "six");
        host.join("other", "net");
        let seen = host.inside("other", || fetch(address, 80, TOO_LONG).unwrap());
        assert_eq!(seen, "six");
        server.join().unwrap();
        host.networks.remove_sandbox("web").unwrap();
        host.networks.remove_sandbox("other").unwrap();
        host.container("again");
        host.networks
            .join("again", "net", static_address())
            .unwrap();
        host.networks.remove_sandbox("again").unwrap();
        host.networks.remove("net").unwrap();
    });
}

#[test]
fn without_inter_container_traffic_neighbours_are_unreachable() {
    on_host(|host| {
        host.network("quiet", |config| {
            config.options.insert(
                "com.docker.network.bridge.enable_icc".to_owned(),
                "false".to_owned(),
            );
        });
        host.container("web");
        host.container("db");
        host.join("web", "quiet");
        let db = host.join("db", "quiet");
        let server = serve(host, "db", 1);
        host.inside("web", || assert!(fetch(db, 80, DROPPED).is_err()));
        assert_eq!(fetch(db, 80, TOO_LONG).unwrap(), "hello");
        server.join().unwrap();
        host.networks.remove_sandbox("web").unwrap();
        host.networks.remove_sandbox("db").unwrap();
    });
}

#[test]
fn macvlan_containers_see_each_other() {
    on_host(|host| {
        // On a wire of its own; a dummy device as parent is not in every kernel, and neither is ipvlan.
        let _wire = neighbour();
        host.network("mac", |config| {
            config.driver = "macvlan".to_owned();
            config
                .options
                .insert("parent".to_owned(), "wan0".to_owned());
        });
        host.container("web");
        host.container("db");
        host.join("web", "mac");
        let db = host.join("db", "mac");
        let server = serve(host, "db", 1);
        let seen = host.inside("web", || fetch(db, 80, TOO_LONG).unwrap());
        assert_eq!(seen, "hello");
        server.join().unwrap();
        host.networks.remove_sandbox("web").unwrap();
        host.networks.remove_sandbox("db").unwrap();
    });
}

#[test]
fn a_restarted_engine_serves_what_still_runs_and_sweeps_the_rest() {
    on_host(|host| {
        let network = host.network("front", |_| {});
        for id in ["web", "db", "dead"] {
            host.container(id);
        }
        host.join("web", "front");
        let db = host.join("db", "front");
        let dead = host.join("dead", "front");
        host.publish("db", None, 8080).unwrap();
        host.publish("dead", None, 8081).unwrap();
        let pin = host.networks.sandbox("dead").unwrap().netns_path.unwrap();
        // Killed: nothing is closed in order.
        host.restart();
        assert_eq!(host.networks.get("front").unwrap(), network);
        host.networks.restore("web").unwrap();
        host.networks.restore("db").unwrap();
        host.networks.sweep().unwrap();
        assert_eq!(host.networks.connected(&network.id).len(), 2);
        assert_eq!(host.inside("web", || resolve("db.")), [IpAddr::V4(db)]);
        let server = serve(host, "db", 1);
        assert_eq!(fetch(Ipv4Addr::LOCALHOST, 8080, TOO_LONG).unwrap(), "hello");
        server.join().unwrap();
        assert!(host.networks.restore("dead").is_err());
        assert!(fetch(Ipv4Addr::LOCALHOST, 8081, DROPPED).is_err());
        host.networks.reaper.flush();
        assert!(!pin.exists());
        // Its address is free again, and the others' are not.
        host.container("next");
        let config = EndpointConfig {
            ipv4: Some(dead),
            ..EndpointConfig::default()
        };
        host.networks.join("next", "front", config).unwrap();
        for id in ["web", "db", "next"] {
            host.networks.remove_sandbox(id).unwrap();
        }
    });
}

#[test]
fn objects_removed_by_hand_are_made_again() {
    on_host(|host| {
        let network = host.network("front", |_| {});
        let mut route = RouteSocket::open().unwrap();
        let bridge = route
            .links()
            .unwrap()
            .into_iter()
            .find(|link| link.name.starts_with("br-"))
            .unwrap();
        route.batch(&[Request::delete_link(bridge.index)]).unwrap();
        let table = KernelNames::new(host.paths.data_root()).table();
        let flush = [Change::DeleteTable(table.clone())];
        NftSocket::open().unwrap().commit(&flush).unwrap();
        host.container("web");
        host.join("web", &network.id);
        let server = serve(host, "web", 1);
        host.publish("web", None, 8080).unwrap();
        assert_eq!(fetch(Ipv4Addr::LOCALHOST, 8080, TOO_LONG).unwrap(), "hello");
        server.join().unwrap();
        let tables = NftSocket::open().unwrap().tables(Family::Inet).unwrap();
        assert_eq!(tables, [table.name]);
        host.networks.remove_sandbox("web").unwrap();
    });
}

#[test]
fn wrong_networks_are_refused_before_anything_is_made() {
    on_host(|host| {
        host.network("taken", |config| {
            config.ipam.config = vec![IpamPool {
                subnet: Some("10.9.0.0/16".to_owned()),
                ..IpamPool::default()
            }];
        });
        let refused = |name: &str, adjust: &dyn Fn(&mut NetworkConfig)| {
            let mut config = NetworkConfig {
                name: name.to_owned(),
                driver: "bridge".to_owned(),
                internal: false,
                attachable: false,
                enable_ipv4: true,
                enable_ipv6: false,
                ipam: IpamConfig::default(),
                options: BTreeMap::new(),
                labels: BTreeMap::new(),
            };
            adjust(&mut config);
            host.networks.create(config).unwrap_err().message
        };
        assert_eq!(
            refused("taken", &|_| {}),
            "network with name taken already exists"
        );
        for name in ["../../x", "", "a b", "x\n", "-x"] {
            assert!(refused(name, &|_| {}).contains("invalid network name"));
        }
        assert!(refused("host", &|_| {}).contains("predefined host network"));
        let overlap = refused("x", &|config| {
            config.ipam.config = vec![IpamPool {
                subnet: Some("10.9.7.0/24".to_owned()),
                ..IpamPool::default()
            }];
        });
        assert!(overlap.contains("Pool overlaps") && overlap.contains("taken"));
        let option = refused("x", &|config| {
            let key = "com.docker.network.driver.mtu".to_owned();
            config.options.insert(key, "large".to_owned());
        });
        assert!(option.contains("\"large\" is not an MTU"), "{option}");
        let driver = refused("x", &|config| config.driver = "overlay".to_owned());
        assert!(driver.contains("overlay"), "{driver}");
        assert_eq!(host.networks.list().len(), 4);
    });
}

#[test]
fn host_and_none_are_networks_without_interfaces() {
    on_host(|host| {
        for (name, kind) in [("host", SandboxKind::Host), ("none", SandboxKind::None)] {
            host.container_of(name, kind);
            let endpoint = host
                .networks
                .join(name, name, EndpointConfig::default())
                .unwrap();
            assert_eq!(
                (endpoint.network_name.as_str(), endpoint.ipv4),
                (name, None)
            );
            let network = host.networks.get(name).unwrap();
            assert_eq!(host.networks.connected(&network.id).len(), 1);
            assert!(
                host.networks
                    .join(name, "bridge", EndpointConfig::default())
                    .is_err()
            );
            host.networks.remove_sandbox(name).unwrap();
        }
    });
}

#[test]
fn prune_takes_what_nobody_is_in() {
    on_host(|host| {
        host.network("used", |_| {});
        host.network("unused", |_| {});
        host.network("kept", |config| {
            config.labels.insert("keep".to_owned(), String::new());
        });
        host.container("web");
        host.join("web", "used");
        let filter = PruneFilter {
            without_labels: vec!["keep".to_owned()],
            ..PruneFilter::default()
        };
        assert_eq!(host.networks.prune(&filter).unwrap(), ["unused"]);
        host.networks.remove_sandbox("web").unwrap();
        let mut removed = host.networks.prune(&PruneFilter::default()).unwrap();
        removed.sort();
        assert_eq!(removed, ["kept", "used"]);
        assert!(host.networks.remove("bridge").is_err());
    });
}
