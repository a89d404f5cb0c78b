//! The bytes of nftables transactions and listings. It sends nothing.

use std::net::IpAddr;

use crate::sys::netlink::align;
use crate::sys::nftables::{
    Base, ChainKind, Change, Element, Family, Field, Hook, ListedChain, ListedRule, Match, Rule,
    Set, Table, Value, Verdict,
};

const SUBSYSTEM: u16 = 10;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;

const NEW_TABLE: u16 = 0;
const GET_TABLE: u16 = 1;
const DELETE_TABLE: u16 = 2;
const NEW_CHAIN: u16 = 3;
const GET_CHAIN: u16 = 4;
const NEW_RULE: u16 = 6;
const GET_RULE: u16 = 7;
const DELETE_RULE: u16 = 8;
const NEW_SET: u16 = 9;
const NEW_ELEMENT: u16 = 12;
const DELETE_ELEMENT: u16 = 14;

const FLAG_REQUEST: u16 = 1;
const FLAG_ACK: u16 = 4;
const FLAG_DUMP: u16 = 0x300;
const FLAG_CREATE: u16 = 0x400;
const FLAG_APPEND: u16 = 0x800;

const NESTED: u16 = 0x8000;
/// First of the sixteen registers of four bytes.
const REGISTER: u32 = 8;
/// Registers a field of this many bytes takes.
const BYTES_PER_REGISTER: u32 = 4;
const INTERFACE_NAME_BYTES: usize = 16;

/// Builds messages; knows the open one and the open nested attributes by their positions.
struct Writer {
    bytes: Vec<u8>,
    message: usize,
}

impl Writer {
    fn begin(&mut self, kind: u16, flags: u16, sequence: u32, family: u8, resource: u16) {
        self.message = self.bytes.len();
        self.bytes.extend_from_slice(&0u32.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes
            .extend_from_slice(&(flags | FLAG_REQUEST).to_ne_bytes());
        self.bytes.extend_from_slice(&sequence.to_ne_bytes());
        self.bytes.extend_from_slice(&0u32.to_ne_bytes());
        // nfgenmsg: family, version, resource id.
        self.bytes.push(family);
        self.bytes.push(0);
        self.bytes.extend_from_slice(&resource.to_be_bytes());
    }

    fn end(&mut self) {
        let length = u32::try_from(self.bytes.len() - self.message).unwrap_or(u32::MAX);
        self.bytes[self.message..self.message + 4].copy_from_slice(&length.to_ne_bytes());
    }

    fn attribute(&mut self, kind: u16, data: &[u8]) {
        let length = u16::try_from(4 + data.len()).unwrap_or(u16::MAX);
        self.bytes.extend_from_slice(&length.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(data);
        self.bytes.resize(align(self.bytes.len()), 0);
    }

    fn text(&mut self, kind: u16, text: &str) {
        let mut data = text.as_bytes().to_vec();
        data.push(0);
        self.attribute(kind, &data);
    }

    fn number(&mut self, kind: u16, number: u32) {
        self.attribute(kind, &number.to_be_bytes());
    }

    fn nested(&mut self, kind: u16, fill: impl FnOnce(&mut Writer)) {
        let start = self.bytes.len();
        self.attribute(kind | NESTED, &[]);
        fill(self);
        let length = u16::try_from(self.bytes.len() - start).unwrap_or(u16::MAX);
        self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
    }

    /// NFTA_DATA_VALUE inside `kind`.
    fn data(&mut self, kind: u16, value: &[u8]) {
        self.nested(kind, |writer| writer.attribute(1, value));
    }

    fn expression(&mut self, name: &str, fill: impl FnOnce(&mut Writer)) {
        self.nested(1, |writer| {
            writer.text(1, name);
            writer.nested(2, fill);
        });
    }
}

fn family_number(family: Family) -> u8 {
    match family {
        Family::Inet => 1,
        Family::Ipv4 => 2,
        Family::Ipv6 => 10,
    }
}

/// A transaction whose messages count from `first`; also the last number used.
pub(crate) fn encode(changes: &[Change], first: u32) -> (Vec<u8>, u32) {
    let mut writer = Writer {
        bytes: Vec::with_capacity(1024),
        message: 0,
    };
    let mut sequence = first;
    writer.begin(BATCH_BEGIN, 0, sequence, 0, SUBSYSTEM);
    writer.end();
    for (position, change) in changes.iter().enumerate() {
        sequence = sequence.wrapping_add(1);
        let set_id = u32::try_from(position).unwrap_or(u32::MAX).wrapping_add(1);
        encode_change(&mut writer, change, sequence, set_id);
    }
    sequence = sequence.wrapping_add(1);
    writer.begin(BATCH_END, 0, sequence, 0, SUBSYSTEM);
    writer.end();
    (writer.bytes, sequence)
}

fn encode_change(writer: &mut Writer, change: &Change, sequence: u32, set_id: u32) {
    let begin = |writer: &mut Writer, kind: u16, flags: u16, table: &Table| {
        let kind = (SUBSYSTEM << 8) | kind;
        writer.begin(
            kind,
            flags | FLAG_ACK,
            sequence,
            family_number(table.family),
            0,
        );
    };
    match change {
        Change::AddTable(table) => {
            begin(writer, NEW_TABLE, FLAG_CREATE, table);
            writer.text(1, &table.name);
        }
        Change::DeleteTable(table) => {
            begin(writer, DELETE_TABLE, 0, table);
            writer.text(1, &table.name);
        }
        Change::AddChain(table, chain, base) => {
            begin(writer, NEW_CHAIN, FLAG_CREATE, table);
            writer.text(1, &table.name);
            writer.text(3, chain);
            if let Some(base) = base {
                encode_base(writer, *base);
            }
        }
        Change::AddSet(table, set) => {
            begin(writer, NEW_SET, FLAG_CREATE, table);
            writer.text(1, &table.name);
            encode_set(writer, set, set_id);
        }
        Change::AddElements(table, set, elements) => {
            begin(writer, NEW_ELEMENT, FLAG_CREATE, table);
            encode_elements(writer, table, set, elements);
        }
        Change::DeleteElements(table, set, elements) => {
            begin(writer, DELETE_ELEMENT, 0, table);
            encode_elements(writer, table, set, elements);
        }
        Change::AppendRule(table, chain, rule) => {
            begin(writer, NEW_RULE, FLAG_CREATE | FLAG_APPEND, table);
            encode_rule(writer, table, chain, rule);
        }
        Change::InsertRule(table, chain, rule) => {
            begin(writer, NEW_RULE, FLAG_CREATE, table);
            encode_rule(writer, table, chain, rule);
        }
        Change::DeleteRule(table, chain, handle) => {
            begin(writer, DELETE_RULE, 0, table);
            writer.text(1, &table.name);
            writer.text(2, chain);
            writer.attribute(3, &handle.to_be_bytes());
        }
    }
    writer.end();
}

fn encode_base(writer: &mut Writer, base: Base) {
    let hook = match base.hook {
        Hook::Prerouting => 0,
        Hook::Forward => 2,
        Hook::Output => 3,
        Hook::Postrouting => 4,
    };
    writer.nested(4, |writer| {
        writer.number(1, hook);
        writer.attribute(2, &base.priority.to_be_bytes());
    });
    writer.number(5, 1);
    writer.text(
        7,
        match base.kind {
            ChainKind::Filter => "filter",
            ChainKind::Nat => "nat",
        },
    );
}

/// Type number as nft knows it, and bytes.
fn field_shape(field: Field) -> (u32, u32) {
    match field {
        Field::InterfaceName => (41, 16),
        Field::Ipv4Address => (7, 4),
        Field::Ipv6Address => (8, 16),
        Field::Protocol => (12, 1),
        Field::Port => (13, 2),
    }
}

/// A concatenation: six bits a type, every field padded to four bytes.
fn fields_shape(fields: &[Field]) -> (u32, u32) {
    if let [field] = fields {
        return field_shape(*field);
    }
    fields.iter().fold((0, 0), |(kind, length), field| {
        let (field_kind, bytes) = field_shape(*field);
        (kind << 6 | field_kind, length + bytes.next_multiple_of(4))
    })
}

fn encode_set(writer: &mut Writer, set: &Set, set_id: u32) {
    const INTERVAL: u32 = 4;
    const MAP: u32 = 8;
    let mut flags = 0;
    if set.is_interval {
        flags |= INTERVAL;
    }
    if !set.value.is_empty() {
        flags |= MAP;
    }
    let (key_type, key_length) = fields_shape(&set.key);
    writer.text(2, set.name);
    writer.number(3, flags);
    writer.number(4, key_type);
    writer.number(5, key_length);
    if !set.value.is_empty() {
        let (value_type, value_length) = fields_shape(&set.value);
        writer.number(6, value_type);
        writer.number(7, value_length);
    }
    writer.number(10, set_id);
}

fn interface_name(name: &str) -> [u8; INTERFACE_NAME_BYTES] {
    let mut bytes = [0; INTERFACE_NAME_BYTES];
    for (target, source) in bytes.iter_mut().zip(name.bytes()) {
        *target = source;
    }
    bytes
}

fn value_bytes(values: &[Value]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(32);
    for value in values {
        match value {
            Value::InterfaceName(name) => bytes.extend_from_slice(&interface_name(name)),
            Value::Ipv4(address) => bytes.extend_from_slice(&address.octets()),
            Value::Ipv6(address) => bytes.extend_from_slice(&address.octets()),
            Value::Protocol(number) => bytes.push(*number),
            Value::Port(port) => bytes.extend_from_slice(&port.to_be_bytes()),
        }
        if values.len() > 1 {
            bytes.resize(align(bytes.len()), 0);
        }
    }
    bytes
}

/// First address of a subnet, and the first one after it (None at the end of the address space).
fn subnet_bounds(address: IpAddr, prefix: u8) -> (Vec<u8>, Option<Vec<u8>>) {
    match address {
        IpAddr::V4(v4) => {
            let size = 1u64 << (32 - u32::from(prefix.min(32)));
            let start = u64::from(u32::from(v4)) / size * size;
            let after = u32::try_from(start + size).ok();
            let start = u32::try_from(start).unwrap_or(0);
            (
                start.to_be_bytes().to_vec(),
                after.map(|after| after.to_be_bytes().to_vec()),
            )
        }
        IpAddr::V6(v6) => {
            let host_bits = 128 - u32::from(prefix.min(128));
            let mask = u128::MAX.checked_shl(host_bits).unwrap_or(0);
            let start = u128::from(v6) & mask;
            let after = (start | !mask).checked_add(1);
            (
                start.to_be_bytes().to_vec(),
                after.map(|after| after.to_be_bytes().to_vec()),
            )
        }
    }
}

fn encode_elements(writer: &mut Writer, table: &Table, set: &str, elements: &[Element]) {
    const INTERVAL_END: u32 = 1;
    writer.text(1, &table.name);
    writer.text(2, set);
    writer.nested(3, |writer| {
        for element in elements {
            match element {
                Element::Key(key) => {
                    writer.nested(1, |writer| writer.data(1, &value_bytes(key)));
                }
                Element::Pair(key, value) => writer.nested(1, |writer| {
                    writer.data(1, &value_bytes(key));
                    writer.data(2, &value_bytes(value));
                }),
                Element::Subnet(address, prefix) => {
                    let (start, after) = subnet_bounds(*address, *prefix);
                    writer.nested(1, |writer| writer.data(1, &start));
                    if let Some(after) = after {
                        writer.nested(1, |writer| {
                            writer.data(1, &after);
                            writer.number(3, INTERVAL_END);
                        });
                    }
                }
            }
        }
    });
}

fn encode_rule(writer: &mut Writer, table: &Table, chain: &str, rule: &Rule) {
    writer.text(1, &table.name);
    writer.text(2, chain);
    writer.nested(4, |writer| {
        for condition in &rule.matches {
            encode_match(writer, condition);
        }
        if rule.counter {
            writer.expression("counter", |_| {});
        }
        encode_verdict(writer, &rule.verdict);
    });
    if let Some(comment) = &rule.comment {
        // Type 0 (comment), length, text with its end, as libnftnl writes it.
        let mut data = vec![0, u8::try_from(comment.len() + 1).unwrap_or(u8::MAX)];
        data.extend_from_slice(comment.as_bytes());
        data.push(0);
        writer.attribute(7, &data);
    }
}

fn load_meta(writer: &mut Writer, key: u32, register: u32) {
    writer.expression("meta", |writer| {
        writer.number(1, register);
        writer.number(2, key);
    });
}

fn load_payload(writer: &mut Writer, base: u32, offset: u32, length: u32, register: u32) {
    writer.expression("payload", |writer| {
        writer.number(1, register);
        writer.number(2, base);
        writer.number(3, offset);
        writer.number(4, length);
    });
}

fn compare(writer: &mut Writer, is_equal: bool, data: &[u8]) {
    writer.expression("cmp", |writer| {
        writer.number(1, REGISTER);
        writer.number(2, u32::from(!is_equal));
        writer.data(3, data);
    });
}

fn mask(writer: &mut Writer, bits: &[u8]) {
    writer.expression("bitwise", |writer| {
        writer.number(1, REGISTER);
        writer.number(2, REGISTER);
        writer.number(3, u32::try_from(bits.len()).unwrap_or(4));
        writer.data(4, bits);
        writer.data(5, &vec![0; bits.len()]);
    });
}

fn look_up(writer: &mut Writer, set: &str, is_inverted: bool) {
    writer.expression("lookup", |writer| {
        writer.text(1, set);
        writer.number(2, REGISTER);
        if is_inverted {
            writer.number(5, 1);
        }
    });
}

fn compare_name(writer: &mut Writer, name: &str) {
    match name.strip_suffix('*') {
        Some(prefix) => compare(writer, true, prefix.as_bytes()),
        None => compare(writer, true, &interface_name(name)),
    }
}

fn address_type(writer: &mut Writer, is_local: bool) {
    const DESTINATION: u32 = 2;
    const ADDRESS_TYPE: u32 = 3;
    const LOCAL: u32 = 2;
    writer.expression("fib", |writer| {
        writer.number(1, REGISTER);
        writer.number(2, ADDRESS_TYPE);
        writer.number(3, DESTINATION);
    });
    compare(writer, is_local, &LOCAL.to_ne_bytes());
}

const META_INPUT_NAME: u32 = 6;
const META_OUTPUT_NAME: u32 = 7;
const META_NFPROTO: u32 = 15;
const META_L4PROTO: u32 = 16;
const BASE_NETWORK: u32 = 1;
const BASE_TRANSPORT: u32 = 2;

fn match_family(writer: &mut Writer, family: Family) {
    load_meta(writer, META_NFPROTO, REGISTER);
    compare(writer, true, &[family_number(family)]);
}

fn match_connection(writer: &mut Writer, key: u32, bits: u32) {
    writer.expression("ct", |writer| {
        writer.number(1, REGISTER);
        writer.number(2, key);
    });
    mask(writer, &bits.to_ne_bytes());
    compare(writer, false, &[0; 4]);
}

fn match_destination(writer: &mut Writer, address: IpAddr, prefix: u8) {
    let (offset, octets, family) = match address {
        IpAddr::V4(v4) => (16, v4.octets().to_vec(), Family::Ipv4),
        IpAddr::V6(v6) => (24, v6.octets().to_vec(), Family::Ipv6),
    };
    let length = u32::try_from(octets.len()).unwrap_or(4);
    match_family(writer, family);
    load_payload(writer, BASE_NETWORK, offset, length, REGISTER);
    let bits: Vec<u8> = (0..octets.len())
        .map(|byte| {
            let kept = usize::from(prefix).saturating_sub(byte * 8).min(8);
            u8::try_from(0xff00u16 >> kept & 0xff).unwrap_or(0)
        })
        .collect();
    if usize::from(prefix) < octets.len() * 8 {
        mask(writer, &bits);
    }
    let masked: Vec<u8> = octets.iter().zip(&bits).map(|(o, b)| o & b).collect();
    compare(writer, true, &masked);
}

fn encode_match(writer: &mut Writer, condition: &Match) {
    const CT_STATE: u32 = 0;
    const CT_STATUS: u32 = 2;
    const ESTABLISHED: u32 = 2;
    const RELATED: u32 = 4;
    const DESTINATION_NAT: u32 = 1 << 5;
    match condition {
        Match::InputName(name) => {
            load_meta(writer, META_INPUT_NAME, REGISTER);
            compare_name(writer, name);
        }
        Match::OutputName(name) => {
            load_meta(writer, META_OUTPUT_NAME, REGISTER);
            compare_name(writer, name);
        }
        Match::InputIn(set) => {
            load_meta(writer, META_INPUT_NAME, REGISTER);
            look_up(writer, set, false);
        }
        Match::OutputIn(set) => {
            load_meta(writer, META_OUTPUT_NAME, REGISTER);
            look_up(writer, set, false);
        }
        Match::OutputNotIn(set) => {
            load_meta(writer, META_OUTPUT_NAME, REGISTER);
            look_up(writer, set, true);
        }
        Match::InputOutputIn(set) => {
            load_meta(writer, META_INPUT_NAME, REGISTER);
            load_meta(writer, META_OUTPUT_NAME, REGISTER + 4);
            look_up(writer, set, false);
        }
        Match::Family(family) => match_family(writer, *family),
        Match::EstablishedOrRelated => match_connection(writer, CT_STATE, ESTABLISHED | RELATED),
        Match::DestinationTranslated => match_connection(writer, CT_STATUS, DESTINATION_NAT),
        Match::DestinationLocal => address_type(writer, true),
        Match::DestinationNotLocal => address_type(writer, false),
        Match::Destination(address, prefix) => match_destination(writer, *address, *prefix),
        Match::SourceIn(family, set) => {
            match_family(writer, *family);
            let (offset, length) = if *family == Family::Ipv6 {
                (8, 16)
            } else {
                (12, 4)
            };
            load_payload(writer, BASE_NETWORK, offset, length, REGISTER);
            look_up(writer, set, false);
        }
        Match::DestinationPort(protocol, port) => {
            load_meta(writer, META_L4PROTO, REGISTER);
            compare(writer, true, &[*protocol]);
            load_payload(writer, BASE_TRANSPORT, 2, 2, REGISTER);
            compare(writer, true, &port.to_be_bytes());
        }
    }
}

fn encode_nat(writer: &mut Writer, family: Family, port_register: u32) {
    writer.expression("nat", |writer| {
        writer.number(1, 1);
        writer.number(2, u32::from(family_number(family)));
        writer.number(3, REGISTER);
        writer.number(5, port_register);
    });
}

fn load_immediate(writer: &mut Writer, register: u32, data: &[u8]) {
    writer.expression("immediate", |writer| {
        writer.number(1, register);
        writer.data(2, data);
    });
}

fn encode_verdict(writer: &mut Writer, verdict: &Verdict) {
    match verdict {
        Verdict::Accept => encode_code(writer, 1, None),
        Verdict::Drop => encode_code(writer, 0, None),
        Verdict::Return => encode_code(writer, -5, None),
        Verdict::Jump(chain) => encode_code(writer, -3, Some(chain)),
        Verdict::Masquerade => writer.expression("masq", |_| {}),
        Verdict::DestinationNat(address, port) => {
            let (octets, family) = match address {
                IpAddr::V4(v4) => (v4.octets().to_vec(), Family::Ipv4),
                IpAddr::V6(v6) => (v6.octets().to_vec(), Family::Ipv6),
            };
            load_immediate(writer, REGISTER, &octets);
            load_immediate(writer, REGISTER + 4, &port.to_be_bytes());
            encode_nat(writer, family, REGISTER + 4);
        }
        Verdict::DestinationMap {
            family,
            map,
            with_address,
        } => encode_map(writer, *family, map, *with_address),
    }
}

fn encode_code(writer: &mut Writer, code: i32, chain: Option<&str>) {
    writer.expression("immediate", |writer| {
        writer.number(1, 0);
        writer.nested(2, |writer| {
            writer.nested(2, |writer| {
                writer.attribute(1, &code.to_be_bytes());
                if let Some(chain) = chain {
                    writer.text(2, chain);
                }
            });
        });
    });
}

fn encode_map(writer: &mut Writer, family: Family, map: &str, with_address: bool) {
    let (offset, length) = if family == Family::Ipv6 {
        (24, 16)
    } else {
        (16, 4)
    };
    let address_registers = length / BYTES_PER_REGISTER;
    match_family(writer, family);
    let mut register = REGISTER;
    if with_address {
        load_payload(writer, BASE_NETWORK, offset, length, register);
        register += address_registers;
    }
    load_meta(writer, META_L4PROTO, register);
    load_payload(writer, BASE_TRANSPORT, 2, 2, register + 1);
    writer.expression("lookup", |writer| {
        writer.text(1, map);
        writer.number(2, REGISTER);
        writer.number(3, REGISTER);
    });
    encode_nat(writer, family, REGISTER + address_registers);
}

fn list(kind: u16, family: Family, sequence: u32, fill: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut writer = Writer {
        bytes: Vec::with_capacity(64),
        message: 0,
    };
    writer.begin(
        (SUBSYSTEM << 8) | kind,
        FLAG_DUMP,
        sequence,
        family_number(family),
        0,
    );
    fill(&mut writer);
    writer.end();
    writer.bytes
}

pub(crate) fn list_rules(table: &Table, chain: &str, sequence: u32) -> Vec<u8> {
    list(GET_RULE, table.family, sequence, |writer| {
        writer.text(1, &table.name);
        writer.text(2, chain);
    })
}

pub(crate) fn list_chains(family: Family, sequence: u32) -> Vec<u8> {
    list(GET_CHAIN, family, sequence, |_| {})
}

pub(crate) fn list_tables(family: Family, sequence: u32) -> Vec<u8> {
    list(GET_TABLE, family, sequence, |_| {})
}

/// The attributes after the nfgenmsg header.
fn attributes(payload: &[u8]) -> Vec<(u16, &[u8])> {
    let mut found = Vec::new();
    let mut rest = payload.get(4..).unwrap_or_default();
    while let [a, b, c, d, ..] = *rest {
        let length = usize::from(u16::from_ne_bytes([a, b])).max(4);
        let kind = u16::from_ne_bytes([c, d]) & !NESTED;
        let Some(data) = rest.get(4..length) else {
            break;
        };
        found.push((kind, data));
        rest = rest.get(align(length)..).unwrap_or_default();
    }
    found
}

fn text_of(data: &[u8]) -> String {
    let end = data.iter().position(|byte| *byte == 0);
    String::from_utf8_lossy(&data[..end.unwrap_or(data.len())]).into_owned()
}

pub(crate) fn parse_table(payload: &[u8]) -> Option<String> {
    attributes(payload)
        .into_iter()
        .find_map(|(kind, data)| (kind == 1).then(|| text_of(data)))
}

pub(crate) fn parse_chain(payload: &[u8]) -> Option<ListedChain> {
    let mut chain = ListedChain {
        table: String::new(),
        name: String::new(),
        drops_by_policy: false,
    };
    for (kind, data) in attributes(payload) {
        match kind {
            1 => chain.table = text_of(data),
            3 => chain.name = text_of(data),
            5 => chain.drops_by_policy = data == [0; 4],
            _ => {}
        }
    }
    (!chain.name.is_empty()).then_some(chain)
}

/// A rule of `chain`; the kernel's filter is not in every version.
pub(crate) fn parse_rule(payload: &[u8], chain: &str) -> Option<ListedRule> {
    let mut rule = ListedRule {
        handle: 0,
        comment: None,
    };
    for (kind, data) in attributes(payload) {
        match kind {
            2 if text_of(data) != chain => return None,
            3 => rule.handle = u64::from_be_bytes(data.try_into().ok()?),
            7 => {
                if let [0, length, text @ ..] = data {
                    let text = text.get(..usize::from(*length)).unwrap_or(text);
                    rule.comment = Some(text_of(text));
                }
            }
            _ => {}
        }
    }
    Some(rule)
}
