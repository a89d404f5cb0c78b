//! rtnetlink: links, addresses and routes, as batches of requests on a synchronous socket. A socket
//! stays in the network namespace it was opened in. It knows no network, endpoint or container.
//!
//! The kernel handles a request inside `send`, so every answer is already queued when `send` returns:
//! a batch costs one `send` and one `recv`.

use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::RawFd;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkHeader,
    NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage};
use netlink_packet_route::link::{
    InfoBridgePort, InfoData, InfoIpVlan, InfoKind, InfoMacVlan, InfoPortData, InfoPortKind,
    InfoVeth, IpVlanMode, LinkAttribute, LinkFlags, LinkInfo, LinkMessage, MacVlanMode,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};

/// Room for the answers of one `recv`; the kernel sends dumps in pieces of at most 32 KiB.
const RECEIVE_BYTES: usize = 64 * 1024;
const HEADER_BYTES: usize = 16;
const TYPE_ERROR: u16 = 2;
const TYPE_DONE: u16 = 3;

/// A link as the kernel lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) name: String,
    pub(crate) group: u32,
    pub(crate) mtu: u32,
    pub(crate) is_up: bool,
    /// `bridge`, `veth`, …; empty for hardware.
    pub(crate) kind: String,
}

/// A route of the main table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) destination: IpAddr,
    pub(crate) prefix: u8,
    /// 0 when the route has no device (multipath, blackhole).
    pub(crate) link_index: u32,
}

/// One change, with the words that an error is reported under.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    message: RouteNetlinkMessage,
    flags: u16,
    doing: String,
}

/// A pair of devices: one end here, the other made directly in `peer_netns`.
#[derive(Debug, Clone)]
pub(crate) struct VethPair<'a> {
    pub(crate) host_name: &'a str,
    pub(crate) bridge_index: u32,
    pub(crate) peer_name: &'a str,
    pub(crate) peer_netns: RawFd,
    pub(crate) peer_mac: [u8; 6],
    pub(crate) mtu: u32,
    pub(crate) group: u32,
}

/// What lies directly on a parent device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SubInterface {
    MacvlanBridge,
    MacvlanPrivate,
    MacvlanVepa,
    MacvlanPassthru,
    IpvlanL2,
    IpvlanL3,
    IpvlanL3s,
}

impl Request {
    fn new(message: RouteNetlinkMessage, flags: u16, doing: impl Into<String>) -> Self {
        Request {
            message,
            flags: flags | NLM_F_REQUEST | NLM_F_ACK,
            doing: doing.into(),
        }
    }

    /// A bridge that is up. Its address is fixed, or it would change with every port.
    pub(crate) fn new_bridge(name: &str, mac: [u8; 6], mtu: u32, group: u32) -> Self {
        let mut link = LinkMessage::default();
        link.header.flags = LinkFlags::Up;
        link.header.change_mask = LinkFlags::Up;
        link.attributes = vec![
            LinkAttribute::IfName(name.to_owned()),
            LinkAttribute::Address(mac.to_vec()),
            LinkAttribute::Mtu(mtu),
            LinkAttribute::Group(group),
            LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Bridge)]),
        ];
        Request::new(
            RouteNetlinkMessage::NewLink(link),
            NLM_F_CREATE | NLM_F_EXCL,
            format!("create bridge {name}"),
        )
    }

    /// The host end comes up enslaved; the peer stays down (the kernel refuses a peer that is up).
    pub(crate) fn new_veth(pair: &VethPair<'_>) -> Self {
        let mut peer = LinkMessage::default();
        peer.attributes = vec![
            LinkAttribute::IfName(pair.peer_name.to_owned()),
            LinkAttribute::Address(pair.peer_mac.to_vec()),
            LinkAttribute::Mtu(pair.mtu),
            LinkAttribute::NetNsFd(pair.peer_netns),
        ];
        let mut link = LinkMessage::default();
        link.header.flags = LinkFlags::Up;
        link.header.change_mask = LinkFlags::Up;
        link.attributes = vec![
            LinkAttribute::IfName(pair.host_name.to_owned()),
            LinkAttribute::Mtu(pair.mtu),
            LinkAttribute::Group(pair.group),
            LinkAttribute::Controller(pair.bridge_index),
            LinkAttribute::LinkInfo(vec![
                LinkInfo::Kind(InfoKind::Veth),
                LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
            ]),
        ];
        Request::new(
            RouteNetlinkMessage::NewLink(link),
            NLM_F_CREATE | NLM_F_EXCL,
            format!("create veth {}", pair.host_name),
        )
    }

    /// A macvlan or ipvlan device on `parent_index`, made in `netns`.
    pub(crate) fn new_sub_interface(
        kind: SubInterface,
        name: &str,
        parent_index: u32,
        netns: RawFd,
        mac: Option<[u8; 6]>,
    ) -> Self {
        let macvlan = |mode| {
            (
                InfoKind::MacVlan,
                InfoData::MacVlan(vec![InfoMacVlan::Mode(mode)]),
            )
        };
        let ipvlan = |mode| {
            (
                InfoKind::IpVlan,
                InfoData::IpVlan(vec![InfoIpVlan::Mode(mode)]),
            )
        };
        let (info_kind, data) = match kind {
            SubInterface::MacvlanBridge => macvlan(MacVlanMode::Bridge),
            SubInterface::MacvlanPrivate => macvlan(MacVlanMode::Private),
            SubInterface::MacvlanVepa => macvlan(MacVlanMode::Vepa),
            SubInterface::MacvlanPassthru => macvlan(MacVlanMode::Passthrough),
            SubInterface::IpvlanL2 => ipvlan(IpVlanMode::L2),
            SubInterface::IpvlanL3 => ipvlan(IpVlanMode::L3),
            SubInterface::IpvlanL3s => ipvlan(IpVlanMode::L3S),
        };
        let mut link = LinkMessage::default();
        link.attributes = vec![
            LinkAttribute::IfName(name.to_owned()),
            LinkAttribute::Link(parent_index),
            LinkAttribute::NetNsFd(netns),
            LinkAttribute::LinkInfo(vec![LinkInfo::Kind(info_kind), LinkInfo::Data(data)]),
        ];
        if let Some(mac) = mac {
            link.attributes.push(LinkAttribute::Address(mac.to_vec()));
        }
        Request::new(
            RouteNetlinkMessage::NewLink(link),
            NLM_F_CREATE | NLM_F_EXCL,
            format!("create {name} on device {parent_index}"),
        )
    }

    /// A device that leads nowhere.
    pub(crate) fn new_dummy(name: &str, group: u32) -> Self {
        let mut link = LinkMessage::default();
        link.header.flags = LinkFlags::Up;
        link.header.change_mask = LinkFlags::Up;
        link.attributes = vec![
            LinkAttribute::IfName(name.to_owned()),
            LinkAttribute::Group(group),
            LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Dummy)]),
        ];
        Request::new(
            RouteNetlinkMessage::NewLink(link),
            NLM_F_CREATE | NLM_F_EXCL,
            format!("create dummy {name}"),
        )
    }

    pub(crate) fn link_up(index: u32) -> Self {
        let mut link = LinkMessage::default();
        link.header.index = index;
        link.header.flags = LinkFlags::Up;
        link.header.change_mask = LinkFlags::Up;
        Request::new(
            RouteNetlinkMessage::SetLink(link),
            0,
            format!("bring up device {index}"),
        )
    }

    pub(crate) fn set_group(index: u32, group: u32) -> Self {
        let mut link = LinkMessage::default();
        link.header.index = index;
        link.attributes = vec![LinkAttribute::Group(group)];
        Request::new(
            RouteNetlinkMessage::SetLink(link),
            0,
            format!("set the group of device {index}"),
        )
    }

    /// A bridge port that cannot reach other isolated ports of its bridge.
    pub(crate) fn isolate_port(name: &str) -> Self {
        let mut link = LinkMessage::default();
        link.attributes = vec![
            LinkAttribute::IfName(name.to_owned()),
            LinkAttribute::LinkInfo(vec![
                LinkInfo::PortKind(InfoPortKind::Bridge),
                LinkInfo::PortData(InfoPortData::BridgePort(vec![InfoBridgePort::Isolated(
                    true,
                )])),
            ]),
        ];
        Request::new(
            RouteNetlinkMessage::NewLink(link),
            0,
            format!("isolate bridge port {name}"),
        )
    }

    pub(crate) fn delete_link(index: u32) -> Self {
        let mut link = LinkMessage::default();
        link.header.index = index;
        Request::new(
            RouteNetlinkMessage::DelLink(link),
            0,
            format!("delete device {index}"),
        )
    }

    /// Deletes every device of a group at once: one grace period for all of them.
    pub(crate) fn delete_group(group: u32) -> Self {
        let mut link = LinkMessage::default();
        link.attributes = vec![LinkAttribute::Group(group)];
        Request::new(
            RouteNetlinkMessage::DelLink(link),
            0,
            format!("delete device group {group}"),
        )
    }

    pub(crate) fn add_address(index: u32, address: IpAddr, prefix: u8) -> Self {
        Request::new(
            RouteNetlinkMessage::NewAddress(address_message(index, address, prefix)),
            NLM_F_CREATE | NLM_F_REPLACE,
            format!("add address {address}/{prefix}"),
        )
    }

    pub(crate) fn delete_address(index: u32, address: IpAddr, prefix: u8) -> Self {
        Request::new(
            RouteNetlinkMessage::DelAddress(address_message(index, address, prefix)),
            0,
            format!("delete address {address}/{prefix}"),
        )
    }

    /// The default route of the gateway's family, in place of another one.
    pub(crate) fn set_default_route(gateway: IpAddr) -> Self {
        let mut route = default_route(gateway);
        route
            .attributes
            .push(RouteAttribute::Gateway(route_address(gateway)));
        Request::new(
            RouteNetlinkMessage::NewRoute(route),
            NLM_F_CREATE | NLM_F_REPLACE,
            format!("set default route via {gateway}"),
        )
    }

    /// A default route straight out of a device (ipvlan in L3 mode has no gateway).
    pub(crate) fn set_default_device(index: u32, family_of: IpAddr) -> Self {
        let mut route = default_route(family_of);
        route.header.scope = RouteScope::Link;
        route.attributes.push(RouteAttribute::Oif(index));
        Request::new(
            RouteNetlinkMessage::NewRoute(route),
            NLM_F_CREATE | NLM_F_REPLACE,
            format!("set default route out of device {index}"),
        )
    }
}

fn family(address: IpAddr) -> AddressFamily {
    match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}

fn route_address(address: IpAddr) -> RouteAddress {
    match address {
        IpAddr::V4(address) => RouteAddress::Inet(address),
        IpAddr::V6(address) => RouteAddress::Inet6(address),
    }
}

fn default_route(family_of: IpAddr) -> RouteMessage {
    let mut route = RouteMessage::default();
    route.header.address_family = family(family_of);
    route.header.table = RouteHeader::RT_TABLE_MAIN;
    route.header.protocol = RouteProtocol::Boot;
    route.header.scope = RouteScope::Universe;
    route.header.kind = RouteType::Unicast;
    route
}

fn address_message(index: u32, address: IpAddr, prefix: u8) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = family(address);
    message.header.prefix_len = prefix;
    message.header.index = index;
    message.attributes.push(AddressAttribute::Local(address));
    message.attributes.push(AddressAttribute::Address(address));
    match address {
        IpAddr::V4(v4) if prefix < 31 => {
            let host_bits = u32::MAX.checked_shr(u32::from(prefix)).unwrap_or(0);
            message.attributes.push(AddressAttribute::Broadcast(
                (u32::from(v4) | host_bits).into(),
            ));
        }
        IpAddr::V4(_) => {}
        // IPAM gave the address to nobody else: waiting a second to detect that is of no use.
        IpAddr::V6(_) => message.header.flags = AddressHeaderFlags::Nodad,
    }
    message
}

/// A NETLINK_ROUTE socket of one network namespace.
#[derive(Debug)]
pub(crate) struct RouteSocket {
    socket: Socket,
    sequence: u32,
    buffer: Vec<u8>,
}

impl RouteSocket {
    /// Opens it in the network namespace of the calling thread.
    pub(crate) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        // Without it every acknowledgement repeats its whole request.
        socket.set_cap_ack(true)?;
        Ok(RouteSocket {
            socket,
            sequence: 0,
            buffer: Vec::new(),
        })
    }

    /// Sends all requests at once; the first that fails is the error. Later ones were tried too.
    pub(crate) fn batch(&mut self, requests: &[Request]) -> io::Result<()> {
        if requests.is_empty() {
            return Ok(());
        }
        let first = self.sequence.wrapping_add(1);
        let mut bytes = Vec::with_capacity(512);
        for request in requests {
            self.push(&mut bytes, request.message.clone(), request.flags);
        }
        self.socket.send(&bytes, 0)?;
        let mut answered = 0;
        let mut failure = None;
        while answered < requests.len() {
            self.receive()?;
            for (kind, sequence, payload) in messages(&self.buffer) {
                let position = sequence.wrapping_sub(first) as usize;
                if kind != TYPE_ERROR || position >= requests.len() {
                    continue;
                }
                answered += 1;
                if let Some(error) = error_of(payload)
                    && failure.is_none()
                {
                    failure = Some((position, error));
                }
            }
        }
        match failure {
            None => Ok(()),
            Some((position, error)) => Err(io::Error::new(
                error.kind(),
                format!("{}: {error}", requests[position].doing),
            )),
        }
    }

    pub(crate) fn links(&mut self) -> io::Result<Vec<Link>> {
        let mut links = Vec::new();
        let request = RouteNetlinkMessage::GetLink(LinkMessage::default());
        self.dump(request, |message| {
            if let RouteNetlinkMessage::NewLink(link) = message {
                links.push(link_of(&link));
            }
        })?;
        Ok(links)
    }

    /// The link of that name, if there is one.
    pub(crate) fn link(&mut self, name: &str) -> io::Result<Option<Link>> {
        let mut request = LinkMessage::default();
        request.attributes = vec![LinkAttribute::IfName(name.to_owned())];
        self.get_link(request)
    }

    /// The link of that index, if there is one.
    pub(crate) fn link_at(&mut self, index: u32) -> io::Result<Option<Link>> {
        let mut request = LinkMessage::default();
        request.header.index = index;
        self.get_link(request)
    }

    fn get_link(&mut self, request: LinkMessage) -> io::Result<Option<Link>> {
        let mut bytes = Vec::with_capacity(64);
        self.push(
            &mut bytes,
            RouteNetlinkMessage::GetLink(request),
            NLM_F_REQUEST,
        );
        self.socket.send(&bytes, 0)?;
        loop {
            self.receive()?;
            for (kind, sequence, payload) in messages(&self.buffer) {
                if sequence != self.sequence {
                    continue;
                }
                if kind == TYPE_ERROR {
                    return match error_of(payload) {
                        Some(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(None),
                        Some(error) => Err(error),
                        None => Ok(None),
                    };
                }
            }
            let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&self.buffer)
                .map_err(io::Error::other)?;
            if let NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link)) =
                message.payload
            {
                return Ok(Some(link_of(&link)));
            }
        }
    }

    /// The main tables' routes of both families, without default routes.
    pub(crate) fn routes(&mut self) -> io::Result<Vec<Route>> {
        let mut routes = Vec::new();
        for unspecified in [
            IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        ] {
            let mut request = RouteMessage::default();
            request.header.address_family = family(unspecified);
            self.dump(RouteNetlinkMessage::GetRoute(request), |message| {
                if let RouteNetlinkMessage::NewRoute(route) = message {
                    routes.extend(route_of(&route));
                }
            })?;
        }
        Ok(routes)
    }

    /// The device of the default IPv4 route.
    pub(crate) fn default_link_index(&mut self) -> io::Result<Option<u32>> {
        let mut found = None;
        let mut request = RouteMessage::default();
        request.header.address_family = AddressFamily::Inet;
        self.dump(RouteNetlinkMessage::GetRoute(request), |message| {
            if let RouteNetlinkMessage::NewRoute(route) = message
                && route.header.destination_prefix_length == 0
                && route.header.table == RouteHeader::RT_TABLE_MAIN
                && found.is_none()
            {
                found = route
                    .attributes
                    .iter()
                    .find_map(|attribute| match attribute {
                        RouteAttribute::Oif(index) => Some(*index),
                        _ => None,
                    });
            }
        })?;
        Ok(found)
    }

    fn dump(
        &mut self,
        request: RouteNetlinkMessage,
        mut each: impl FnMut(RouteNetlinkMessage),
    ) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(64);
        self.push(&mut bytes, request, NLM_F_REQUEST | NLM_F_DUMP);
        self.socket.send(&bytes, 0)?;
        loop {
            self.receive()?;
            let mut rest = self.buffer.as_slice();
            while rest.len() >= HEADER_BYTES {
                let length = header_length(rest);
                let Some(bytes) = rest.get(..length) else {
                    return Err(io::Error::other("truncated netlink message"));
                };
                rest = rest.get(align(length)..).unwrap_or_default();
                let (kind, sequence) = header_kind(bytes);
                if sequence != self.sequence {
                    continue;
                }
                match kind {
                    TYPE_DONE => return Ok(()),
                    TYPE_ERROR => match error_of(&bytes[HEADER_BYTES..]) {
                        Some(error) => return Err(error),
                        None => continue,
                    },
                    _ => {}
                }
                // A kind of device newer than the parser must not hide the others.
                if let Ok(message) = NetlinkMessage::<RouteNetlinkMessage>::deserialize(bytes)
                    && let NetlinkPayload::InnerMessage(inner) = message.payload
                {
                    each(inner);
                }
            }
        }
    }

    fn push(&mut self, bytes: &mut Vec<u8>, message: RouteNetlinkMessage, flags: u16) {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.flags = flags;
        header.sequence_number = self.sequence;
        let mut packet = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(message));
        packet.finalize();
        let start = bytes.len();
        bytes.resize(start + align(packet.buffer_len()), 0);
        packet.serialize(&mut bytes[start..start + packet.buffer_len()]);
    }

    fn receive(&mut self) -> io::Result<()> {
        self.buffer.clear();
        self.buffer.reserve(RECEIVE_BYTES);
        self.socket.recv(&mut self.buffer, 0)?;
        Ok(())
    }
}

/// Round up to the four bytes that netlink messages and attributes are aligned to.
pub(crate) fn align(length: usize) -> usize {
    (length + 3) & !3
}

fn header_length(bytes: &[u8]) -> usize {
    let length = u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize;
    length.max(HEADER_BYTES)
}

fn header_kind(bytes: &[u8]) -> (u16, u32) {
    let kind = u16::from_ne_bytes([bytes[4], bytes[5]]);
    let sequence = u32::from_ne_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]);
    (kind, sequence)
}

/// Type, sequence number and payload of every message in a received buffer.
pub(crate) fn messages(buffer: &[u8]) -> Vec<(u16, u32, &[u8])> {
    let mut found = Vec::new();
    let mut rest = buffer;
    while rest.len() >= HEADER_BYTES {
        let length = header_length(rest);
        let Some(bytes) = rest.get(..length) else {
            break;
        };
        let (kind, sequence) = header_kind(bytes);
        found.push((kind, sequence, &bytes[HEADER_BYTES..]));
        rest = rest.get(align(length)..).unwrap_or_default();
    }
    found
}

/// The error in the payload of an NLMSG_ERROR; None is an acknowledgement.
pub(crate) fn error_of(payload: &[u8]) -> Option<io::Error> {
    let code = payload
        .get(..4)
        .map_or(-libc::EIO, |b| i32::from_ne_bytes([b[0], b[1], b[2], b[3]]));
    (code != 0).then(|| io::Error::from_raw_os_error(-code))
}

fn link_of(message: &LinkMessage) -> Link {
    let mut link = Link {
        index: message.header.index,
        name: String::new(),
        group: 0,
        mtu: 0,
        is_up: message.header.flags.contains(LinkFlags::Up),
        kind: String::new(),
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::Group(group) => link.group = *group,
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            LinkAttribute::LinkInfo(infos) => {
                for info in infos {
                    if let LinkInfo::Kind(kind) = info {
                        link.kind = kind.to_string();
                    }
                }
            }
            _ => {}
        }
    }
    link
}

fn route_of(message: &RouteMessage) -> Option<Route> {
    let mut table = u32::from(message.header.table);
    let mut destination = None;
    let mut link_index = 0;
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Table(number) => table = *number,
            RouteAttribute::Destination(RouteAddress::Inet(v4)) => {
                destination = Some(IpAddr::V4(*v4));
            }
            RouteAttribute::Destination(RouteAddress::Inet6(v6)) => {
                destination = Some(IpAddr::V6(*v6));
            }
            RouteAttribute::Oif(index) => link_index = *index,
            _ => {}
        }
    }
    (table == u32::from(RouteHeader::RT_TABLE_MAIN) && message.header.destination_prefix_length > 0)
        .then_some(Route {
            destination: destination?,
            prefix: message.header.destination_prefix_length,
            link_index,
        })
}
