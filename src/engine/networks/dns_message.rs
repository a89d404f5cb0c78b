//! One DNS query to one answer out of the zones: parsing and building messages (RFC 1035). It reads and sends
//! nothing; what the zones do not know is handed back to be forwarded.

use std::net::IpAddr;

use hickory_proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, PTR};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};

use crate::engine::networks::dns_zone::Zones;

/// What a client can take over UDP when it does not say (RFC 1035, 4.2.1).
const PLAIN_UDP_BYTES: u16 = 512;
/// Replicas come and go: nobody may keep an answer.
const TTL_SECONDS: u32 = 0;

/// What to do with a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reply {
    Answer(Vec<u8>),
    /// Nobody here: ask the upstream servers.
    Forward,
    /// Not a query, or not even DNS.
    Ignore,
}

/// How large an answer may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    Udp,
    Tcp,
}

/// Answers out of the zones that `container_id` may ask.
pub(crate) fn answer(zones: &Zones, container_id: &str, packet: &[u8], over: Transport) -> Reply {
    let Ok(query) = Message::from_vec(packet) else {
        return Reply::Ignore;
    };
    if query.metadata.message_type != MessageType::Query {
        return Reply::Ignore;
    }
    let [question] = query.queries.as_slice() else {
        return finish(response(&query, ResponseCode::FormErr), &query, over);
    };
    if query.metadata.op_code != OpCode::Query {
        return finish(response(&query, ResponseCode::NotImp), &query, over);
    }
    let records = match question.query_class() {
        DNSClass::IN => local_records(zones, container_id, question.name(), question.query_type()),
        _ => None,
    };
    match records {
        Some(records) => {
            let mut message = response(&query, ResponseCode::NoError);
            message.add_answers(records);
            finish(message, &query, over)
        }
        None if zones.forwards(container_id) => Reply::Forward,
        None => finish(response(&query, ResponseCode::NXDomain), &query, over),
    }
}

/// The answer that says: the servers behind us do not work.
pub(crate) fn failure(packet: &[u8]) -> Option<Vec<u8>> {
    let query = Message::from_vec(packet).ok()?;
    response(&query, ResponseCode::ServFail).to_vec().ok()
}

/// None: the name is nobody's. An empty list: it exists, but not with this type.
fn local_records(
    zones: &Zones,
    container_id: &str,
    name: &Name,
    kind: RecordType,
) -> Option<Vec<Record>> {
    if kind == RecordType::PTR
        && let Ok(network) = name.parse_arpa_name()
    {
        let target = zones.name_of(container_id, network.addr())?;
        let target = Name::from_ascii(format!("{target}.")).ok()?;
        return Some(vec![record(name, RData::PTR(PTR(target)))]);
    }
    let text = name.to_ascii();
    let addresses = zones.addresses(container_id, text.trim_end_matches('.'))?;
    let records = addresses.into_iter().filter_map(|address| match address {
        IpAddr::V4(v4) if matches!(kind, RecordType::A | RecordType::ANY) => {
            Some(record(name, RData::A(A(v4))))
        }
        IpAddr::V6(v6) if matches!(kind, RecordType::AAAA | RecordType::ANY) => {
            Some(record(name, RData::AAAA(AAAA(v6))))
        }
        _ => None,
    });
    Some(records.collect())
}

fn record(name: &Name, data: RData) -> Record {
    Record::from_rdata(name.clone(), TTL_SECONDS, data)
}

fn response(query: &Message, code: ResponseCode) -> Message {
    let mut message = Message::response(query.metadata.id, query.metadata.op_code);
    message.metadata.recursion_desired = query.metadata.recursion_desired;
    message.metadata.recursion_available = true;
    message.metadata.response_code = code;
    message.add_queries(query.queries.iter().cloned());
    message
}

fn finish(message: Message, query: &Message, over: Transport) -> Reply {
    let limit = match over {
        Transport::Tcp => u16::MAX,
        Transport::Udp if query.edns.is_some() => query.max_payload().max(PLAIN_UDP_BYTES),
        Transport::Udp => PLAIN_UDP_BYTES,
    };
    match message.to_vec() {
        Ok(bytes) if bytes.len() <= usize::from(limit) => Reply::Answer(bytes),
        Ok(_) => match message.truncate().to_vec() {
            Ok(bytes) => Reply::Answer(bytes),
            Err(_) => Reply::Ignore,
        },
        Err(_) => Reply::Ignore,
    }
}

#[cfg(test)]
mod tests {
    use hickory_proto::op::Query;

    use super::*;
    use crate::engine::networks::dns_zone::View;

    fn zones(replicas: u8) -> Zones {
        let zones = Zones::default();
        for number in 0..replicas {
            zones.add(
                "net",
                "shop_default",
                &format!("e{number}"),
                &[format!("shop-web-{number}"), "web".to_owned()],
                &[IpAddr::from([172, 18, 0, number])],
            );
        }
        let view = View {
            network_ids: vec!["net".to_owned()],
            forwards: true,
            ..View::default()
        };
        zones.set_view("c", view.clone());
        zones.set_view(
            "internal",
            View {
                forwards: false,
                ..view
            },
        );
        zones
    }

    fn query(name: &str, kind: RecordType) -> Vec<u8> {
        let mut message = Message::new(7, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = true;
        message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
        message.to_vec().unwrap()
    }

    fn asked(zones: &Zones, container_id: &str, name: &str, kind: RecordType) -> Message {
        match answer(zones, container_id, &query(name, kind), Transport::Udp) {
            Reply::Answer(bytes) => Message::from_vec(&bytes).unwrap(),
            other => panic!("{name}: {other:?}"),
        }
    }

    #[test]
    fn a_service_answers_with_all_its_replicas() {
        let message = asked(&zones(3), "c", "WEB.", RecordType::A);
        assert_eq!(message.metadata.id, 7);
        assert!(message.metadata.recursion_available);
        assert_eq!(message.answers.len(), 3);
        assert!(message.answers.iter().all(|record| record.ttl == 0));
    }

    #[test]
    fn a_known_name_without_that_type_is_empty_and_not_forwarded() {
        for kind in [RecordType::AAAA, RecordType::MX, RecordType::SRV] {
            let message = asked(&zones(1), "c", "web.", kind);
            assert_eq!(message.metadata.response_code, ResponseCode::NoError);
            assert!(message.answers.is_empty());
        }
    }

    #[test]
    fn addresses_have_names() {
        let message = asked(&zones(2), "c", "1.0.18.172.in-addr.arpa.", RecordType::PTR);
        let RData::PTR(name) = &message.answers[0].data else {
            panic!("no PTR");
        };
        assert_eq!(name.0.to_ascii(), "shop-web-1.shop_default.");
    }

    #[test]
    fn unknown_names_are_forwarded_but_not_from_internal_networks() {
        let packet = query("example.org.", RecordType::A);
        assert_eq!(
            answer(&zones(1), "c", &packet, Transport::Udp),
            Reply::Forward
        );
        let message = asked(&zones(1), "internal", "example.org.", RecordType::A);
        assert_eq!(message.metadata.response_code, ResponseCode::NXDomain);
    }

    #[test]
    fn too_many_replicas_are_truncated_over_udp_only() {
        let zones = zones(60);
        assert!(
            asked(&zones, "c", "web.", RecordType::A)
                .metadata
                .truncation
        );
        let packet = query("web.", RecordType::A);
        let Reply::Answer(bytes) = answer(&zones, "c", &packet, Transport::Tcp) else {
            panic!("no answer");
        };
        assert_eq!(Message::from_vec(&bytes).unwrap().answers.len(), 60);
    }

    #[test]
    fn rubbish_is_ignored() {
        let zones = zones(1);
        let mut packet = query("web.", RecordType::A);
        packet[2] |= 0x80;
        assert_eq!(answer(&zones, "c", &packet, Transport::Udp), Reply::Ignore);
        // A name that points at itself.
        let looped = [0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0xc0, 12, 0, 1, 0, 1];
        for packet in [&looped[..], &[], &[0; 12], &[0xff; 40]] {
            assert!(!matches!(
                answer(&zones, "c", packet, Transport::Udp),
                Reply::Forward
            ));
        }
    }

    proptest::proptest! {
        #[test]
        fn no_packet_makes_it_panic(packet: Vec<u8>) {
            let _ = answer(&zones(1), "c", &packet, Transport::Udp);
            let _ = failure(&packet);
        }
    }
}
