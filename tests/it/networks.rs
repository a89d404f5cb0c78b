//! Names, networks and ports: who reaches whom, and from where.

use crate::support::{World, both_engines, eventually, fetch, free_port, try_fetch};

/// A service that answers its own name over HTTP on port 80.
fn server(name: &str, more: &str) -> String {
    format!(
        r#"
  {name}:
    image: ${{IMAGE}}
    command: ["sh", "-c", "mkdir /www; echo I am {name} > /www/index.html; exec httpd -f -p 80 -h /www"]
{more}"#
    )
}

#[track_caller]
fn reaches(w: &World, from: &str, host: &str, answer: &str) {
    eventually(&format!("{from} reaches {host}"), || {
        w.ask(from, host).filter(|said| said == answer)
    });
}

fn services_find_each_other_by_name(w: &World) {
    w.compose(&format!(
        "services:{}{}",
        server("one", ""),
        server("two", "")
    ));
    w.hoist(&["up", "-d"]).success();
    reaches(w, "one", "two", "I am two");
    reaches(w, "two", "one", "I am one");
    reaches(w, "one", &format!("{}-two-1", w.project), "I am two");
}

fn networks_separate(w: &World) {
    if w.lacks_api("1.44") {
        return;
    }
    let file = format!(
        "services:{}{}{}\nnetworks: {{front: {{}}, back: {{}}}}\n",
        server("web", "    networks: [front]\n"),
        server("api", "    networks: [front, back]\n"),
        server("db", "    networks: [back]\n")
    );
    w.compose(&file);
    w.hoist(&["up", "-d"]).success();
    reaches(w, "web", "api", "I am api");
    reaches(w, "api", "db", "I am db");
    assert_eq!(w.ask("web", "db"), None, "web and db share no network");
    let db =
        w.inspect("db")["NetworkSettings"]["Networks"][format!("{}_back", w.project)]["IPAddress"]
            .clone();
    assert_eq!(w.ask("web", db.as_str().unwrap()), None, "nor by address");
    assert!(
        w.network("default").is_none(),
        "an unused default network is not made"
    );
    w.hoist(&["down"]).success();
    w.nothing_left();
}

fn aliases_name_a_service_on_one_network(w: &World) {
    let file = format!(
        "services:{}{}\nnetworks: {{n: {{}}}}\n",
        server("web", "    networks: [n]\n"),
        server(
            "db",
            "    networks: {n: {aliases: [store, database.local]}}\n"
        )
    );
    w.compose(&file);
    w.hoist(&["up", "-d"]).success();
    reaches(w, "web", "store", "I am db");
    reaches(w, "web", "database.local", "I am db");
}

fn replicas_share_the_name(w: &World) {
    w.compose(&format!(
        "services:{}{}",
        server("web", ""),
        server("app", "    scale: 3\n")
    ));
    w.hoist(&["up", "-d"]).success();
    let network = format!("{}_default", w.project);
    for number in 1..=3 {
        let address = w.inspect(&format!("app-{number}"))["NetworkSettings"]["Networks"][&network]
            ["IPAddress"]
            .clone();
        let answer = w.exec("web", &["nslookup", "app"]);
        assert!(
            answer.contains(address.as_str().unwrap()),
            "{address} is missing in {answer}"
        );
    }
}

fn an_unknown_name_is_unknown(w: &World) {
    w.compose(&format!("services:{}", server("web", "")));
    w.hoist(&["up", "-d"]).success();
    assert_eq!(w.ask("web", "nosuch"), None);
}

fn a_name_follows_its_container(w: &World) {
    w.compose(&format!(
        "services:{}{}",
        server("web", ""),
        server("db", "")
    ));
    w.hoist(&["up", "-d"]).success();
    reaches(w, "web", "db", "I am db");
    w.hoist(&["stop", "db"]).success();
    assert_eq!(w.ask("web", "db"), None);
    w.hoist(&["up", "-d", "--force-recreate", "db"]).success();
    reaches(w, "web", "db", "I am db");
}

fn a_published_port_answers_on_the_host(w: &World) {
    let port = free_port();
    w.compose(&format!(
        "services:{}",
        server("web", &format!("    ports: [\"{port}:80\"]\n"))
    ));
    w.hoist(&["up", "-d"]).success();
    assert_eq!(fetch(port, "/").trim(), "I am web");
    w.hoist(&["port", "web", "80"])
        .success()
        .prints(&format!("0.0.0.0:{port}"));
    w.hoist(&["down"]).success();
    assert_eq!(try_fetch(port, "/"), None);
}

fn a_port_of_the_engines_choice_is_told(w: &World) {
    w.compose(&format!(
        "services:{}",
        server("web", "    ports: [\"80\"]\n")
    ));
    w.hoist(&["up", "-d"]).success();
    let told = w.hoist(&["port", "web", "80"]).success().stdout;
    let port = told
        .trim()
        .lines()
        .next()
        .unwrap()
        .rsplit(':')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    assert_eq!(fetch(port, "/").trim(), "I am web");
}

fn a_port_of_one_address_is_only_there(w: &World) {
    let port = free_port();
    w.compose(&format!(
        "services:{}",
        server("web", &format!("    ports: [\"127.0.0.1:{port}:80\"]\n"))
    ));
    w.hoist(&["up", "-d"]).success();
    assert_eq!(fetch(port, "/").trim(), "I am web");
    let bindings = w.inspect("web")["NetworkSettings"]["Ports"]["80/tcp"].clone();
    assert_eq!(bindings.as_array().unwrap().len(), 1, "{bindings}");
    assert_eq!(bindings[0]["HostIp"], "127.0.0.1");
}

fn a_port_survives_a_restart(w: &World) {
    let port = free_port();
    w.compose(&format!(
        "services:{}",
        server("web", &format!("    ports: [\"{port}:80\"]\n"))
    ));
    w.hoist(&["up", "-d"]).success();
    assert_eq!(fetch(port, "/").trim(), "I am web");
    // The page is written at each start; the folder is there already.
    w.hoist(&["up", "-d", "--force-recreate"]).success();
    assert_eq!(fetch(port, "/").trim(), "I am web");
}

fn a_taken_port_fails_with_its_number(w: &World) {
    let holder = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    let port = holder.local_addr().unwrap().port();
    w.compose(&format!(
        "services:{}",
        server("web", &format!("    ports: [\"{port}:80\"]\n"))
    ));
    w.hoist(&["up", "-d"]).exits(1).says(&port.to_string());
    assert!(w.running().is_empty());
    drop(holder);
    w.hoist(&["up", "-d"]).success();
    assert_eq!(fetch(port, "/").trim(), "I am web");
}

fn a_fixed_address_is_given(w: &World) {
    let third = std::process::id() % 250;
    let subnet = format!("10.231.{third}");
    w.compose(&format!(
        r#"
services:
  a:
    image: ${{IMAGE}}
    command: sleep 1000
    networks: {{n: {{ipv4_address: {subnet}.77}}}}
networks:
  n:
    ipam: {{config: [{{subnet: {subnet}.0/24, gateway: {subnet}.1}}]}}
"#
    ));
    w.hoist(&["up", "-d"]).success();
    assert!(
        w.exec("a", &["ip", "addr"])
            .contains(&format!("{subnet}.77/24"))
    );
    assert!(
        w.exec("a", &["ip", "route"])
            .contains(&format!("default via {subnet}.1"))
    );
}

fn an_internal_network_leads_nowhere(w: &World) {
    if w.lacks_api("1.44") {
        return;
    }
    w.compose(&format!(
        "services:{}{}\nnetworks: {{default: {{internal: true}}}}\n",
        server("a", ""),
        server("b", "")
    ));
    w.hoist(&["up", "-d"]).success();
    reaches(w, "a", "b", "I am b");
    assert!(!w.exec("a", &["ip", "route"]).contains("default"));
    assert_eq!(w.network("default").unwrap()["Internal"], true);
}

fn no_network_is_only_loopback(w: &World) {
    w.compose("services:\n  a: {image: \"${IMAGE}\", command: sleep 1000, network_mode: none}\n");
    w.hoist(&["up", "-d"]).success();
    let links = w.exec("a", &["ip", "-o", "link"]);
    assert_eq!(
        links
            .lines()
            .filter(|line| line.contains("LOWER_UP"))
            .count(),
        1,
        "{links}"
    );
    assert!(w.network("default").is_none());
}

fn the_hosts_network_is_shared_on_request(w: &World) {
    let port = free_port();
    w.compose(&format!(
        "services:\n  a: {{image: \"${{IMAGE}}\", network_mode: host, command: [\"sh\", \"-c\", \"mkdir /www; echo hi > /www/index.html; exec httpd -f -p {port} -h /www\"]}}\n"
    ));
    w.hoist(&["up", "-d"]).success();
    assert_eq!(fetch(port, "/").trim(), "hi");
}

fn a_service_can_share_anothers_network(w: &World) {
    w.compose(&format!(
        "services:{}\n  side: {{image: \"${{IMAGE}}\", command: sleep 1000, network_mode: \"service:web\"}}\n",
        server("web", "")
    ));
    w.hoist(&["up", "-d"]).success();
    reaches(w, "side", "127.0.0.1", "I am web");
    let before = (w.id("web"), w.id("side"));
    w.hoist(&["up", "-d"]).success();
    assert_eq!(
        (w.id("web"), w.id("side")),
        before,
        "up again changes nothing"
    );
    w.hoist(&["up", "-d", "--force-recreate"]).success();
    reaches(w, "side", "127.0.0.1", "I am web");
}

fn an_external_network_is_joined_and_kept(w: &World) {
    let name = format!("ext-{}", w.project);
    w.compose(&format!(
        "services:{}\nnetworks: {{default: {{name: {name}, external: true}}}}\n",
        server("a", "")
    ));
    w.hoist(&["up", "-d"]).exits(1).says(&name);
    w.api
        .post("/networks/create", &serde_json::json!({"Name": name}));
    w.hoist(&["up", "-d"]).success();
    assert!(!w.inspect("a")["NetworkSettings"]["Networks"][&name].is_null());
    w.hoist(&["down"]).success();
    assert!(w.api.find(&format!("/networks/{name}")).is_some());
    assert!(w.api.delete(&format!("/networks/{name}")) < 300);
}

fn a_networks_own_name_is_used(w: &World) {
    let name = format!("named-{}", w.project);
    w.compose(&format!(
        "services:{}\nnetworks: {{default: {{name: {name}}}}}\n",
        server("a", "")
    ));
    w.hoist(&["up", "-d"]).success();
    assert!(w.api.find(&format!("/networks/{name}")).is_some());
    w.hoist(&["down"]).success();
    assert!(w.api.find(&format!("/networks/{name}")).is_none());
}

fn extra_hosts_are_in_the_hosts_file(w: &World) {
    w.compose("services:\n  a: {image: \"${IMAGE}\", command: sleep 1000, extra_hosts: [\"friend:10.1.2.3\", \"six=::1\"]}\n");
    w.hoist(&["up", "-d"]).success();
    let hosts = w.exec("a", &["cat", "/etc/hosts"]);
    let has = |address: &str, name: &str| {
        hosts
            .lines()
            .any(|line| line.split_whitespace().eq([address, name]))
    };
    assert!(has("10.1.2.3", "friend") && has("::1", "six"), "{hosts}");
}

fn hostname_and_domain_are_set(w: &World) {
    w.compose("services:\n  a: {image: \"${IMAGE}\", command: sleep 1000, hostname: box, domainname: example.test}\n");
    w.hoist(&["up", "-d"]).success();
    assert_eq!(w.exec("a", &["hostname"]), "box");
    assert!(w.exec("a", &["cat", "/etc/hosts"]).contains("box"));
}

fn dns_settings_reach_the_container(w: &World) {
    w.compose("services:\n  a: {image: \"${IMAGE}\", command: sleep 1000, dns_search: [example.test], dns_opt: [\"timeout:3\"]}\n");
    w.hoist(&["up", "-d"]).success();
    let conf = w.exec("a", &["cat", "/etc/resolv.conf"]);
    assert!(conf.contains("nameserver 127.0.0.11"), "{conf}");
    assert!(
        conf.contains("example.test") && conf.contains("timeout:3"),
        "{conf}"
    );
}

fn a_mac_address_is_given(w: &World) {
    w.compose("services:\n  a: {image: \"${IMAGE}\", command: sleep 1000, networks: {default: {mac_address: \"02:42:0a:00:00:63\"}}}\n");
    if w.lacks_api("1.44") {
        return;
    }
    w.hoist(&["up", "-d"]).success();
    assert_eq!(
        w.exec("a", &["cat", "/sys/class/net/eth0/address"]),
        "02:42:0a:00:00:63"
    );
}

fn links_are_names(w: &World) {
    w.compose(&format!(
        "services:{}{}",
        server("web", "    links: [\"db:store\"]\n"),
        server("db", "")
    ));
    w.hoist(&["up", "-d"]).success();
    reaches(w, "web", "store", "I am db");
}

fn udp_and_tcp_of_one_number_are_two_ports(w: &World) {
    let port = free_port();
    w.compose(&format!(
        "services:{}",
        server(
            "web",
            &format!("    ports: [\"{port}:80\", \"{port}:80/udp\"]\n")
        )
    ));
    w.hoist(&["up", "-d"]).success();
    let ports = w.inspect("web")["NetworkSettings"]["Ports"].clone();
    assert_eq!(ports["80/tcp"][0]["HostPort"], port.to_string());
    assert_eq!(ports["80/udp"][0]["HostPort"], port.to_string());
    w.hoist(&["port", "--protocol", "udp", "web", "80"])
        .success()
        .prints(&port.to_string());
    assert!(
        std::net::UdpSocket::bind(("0.0.0.0", port)).is_err(),
        "the port is taken on the host"
    );
    assert_eq!(fetch(port, "/").trim(), "I am web");
}

fn two_ports_of_a_range_are_published(w: &World) {
    w.compose(&format!(
        "services:{}",
        server("web", "    ports: [\"80-81\"]\n")
    ));
    w.hoist(&["up", "-d"]).success();
    let ports = w.inspect("web")["NetworkSettings"]["Ports"].clone();
    assert!(
        ports["80/tcp"].is_array() && ports["81/tcp"].is_array(),
        "{ports}"
    );
}

both_engines!(
    services_find_each_other_by_name,
    networks_separate,
    aliases_name_a_service_on_one_network,
    replicas_share_the_name,
    an_unknown_name_is_unknown,
    a_name_follows_its_container,
    a_published_port_answers_on_the_host,
    a_port_of_the_engines_choice_is_told,
    a_port_of_one_address_is_only_there,
    a_port_survives_a_restart,
    a_taken_port_fails_with_its_number,
    a_fixed_address_is_given,
    an_internal_network_leads_nowhere,
    no_network_is_only_loopback,
    the_hosts_network_is_shared_on_request,
    a_service_can_share_anothers_network,
    an_external_network_is_joined_and_kept,
    a_networks_own_name_is_used,
    extra_hosts_are_in_the_hosts_file,
    hostname_and_domain_are_set,
    dns_settings_reach_the_container,
    a_mac_address_is_given,
    links_are_names,
    udp_and_tcp_of_one_number_are_two_ports,
    two_ports_of_a_range_are_published,
);
