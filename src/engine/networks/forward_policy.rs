//! Getting past the forward policy of others: Docker and ufw set the policy of `ip filter FORWARD` to drop, which stops
//! our packets whatever our own table says. Two rules in front let this engine's bridges through, written as
//! `iptables` writes them, so that its listings stay readable. They carry our mark and are removed by it.

use std::io;
use std::sync::Weak;

use crate::engine::base::sync::lock;
use crate::engine::networks::Networks;
use crate::sys::nft_monitor::NftMonitor;
use crate::sys::nftables::{Change, Family, Match, NftSocket, Rule, Table, Verdict};

/// Docker leaves this chain to its users and calls it first.
const DOCKER_USER: &str = "DOCKER-USER";
const FORWARD: &str = "FORWARD";

/// Puts the rules where they are needed and missing. `patterns` name our bridges.
pub(crate) fn ensure(nft: &mut NftSocket, mark: &str, patterns: &[String]) -> io::Result<()> {
    for family in [Family::Ipv4, Family::Ipv6] {
        let Some((table, chain)) = target(nft, family)? else {
            continue;
        };
        let present = nft.rules(&table, &chain)?;
        let mut changes = Vec::new();
        for pattern in patterns {
            let comment = format!("{mark} {pattern}");
            if present
                .iter()
                .any(|rule| rule.comment.as_deref() == Some(&comment))
            {
                continue;
            }
            for condition in [
                Match::InputName(pattern.clone()),
                Match::OutputName(pattern.clone()),
            ] {
                let rule = Rule {
                    matches: vec![condition],
                    verdict: Verdict::Accept,
                    counter: true,
                    comment: Some(comment.clone()),
                };
                changes.push(Change::InsertRule(table.clone(), chain.clone(), rule));
            }
        }
        nft.commit(&changes)?;
    }
    Ok(())
}

/// Removes every rule with our mark, wherever it is; with a pattern, only that bridge's.
pub(crate) fn remove(nft: &mut NftSocket, mark: &str, pattern: Option<&str>) -> io::Result<()> {
    for family in [Family::Ipv4, Family::Ipv6] {
        let table = filter(family);
        for chain in [DOCKER_USER, FORWARD] {
            let changes: Vec<Change> = nft
                .rules(&table, chain)?
                .into_iter()
                .filter(|rule| is_ours(rule.comment.as_deref(), mark, pattern))
                .map(|rule| Change::DeleteRule(table.clone(), chain.to_owned(), rule.handle))
                .collect();
            nft.commit(&changes)?;
        }
    }
    Ok(())
}

/// Looks again whenever somebody makes chains: Docker may start, or reload, after us. Ends with the service.
pub(crate) async fn watch(monitor: NftMonitor, networks: Weak<Networks>) {
    loop {
        if let Err(error) = monitor.new_chain().await {
            tracing::warn!(%error, "changes of the firewall go unseen");
            return;
        }
        let Some(networks) = networks.upgrade() else {
            return;
        };
        let mut state = lock(&networks.state);
        if state.networks.values().any(|entry| entry.is_up) {
            state.pass_foreign_policy();
        }
    }
}

fn is_ours(comment: Option<&str>, mark: &str, pattern: Option<&str>) -> bool {
    let Some(rest) = comment.and_then(|comment| comment.strip_prefix(mark)) else {
        return false;
    };
    match (rest.strip_prefix(' '), pattern) {
        (Some(found), Some(wanted)) => found == wanted,
        (Some(_), None) => true,
        (None, _) => false,
    }
}

fn filter(family: Family) -> Table {
    Table {
        family,
        name: "filter".to_owned(),
    }
}

/// Docker's chain for users, else a FORWARD chain that drops by policy; None when nobody is in the way.
fn target(nft: &mut NftSocket, family: Family) -> io::Result<Option<(Table, String)>> {
    let chains: Vec<_> = nft
        .chains(family)?
        .into_iter()
        .filter(|chain| chain.table == "filter")
        .collect();
    let named = |name: &str| chains.iter().find(|chain| chain.name == name);
    let drops = named(FORWARD).is_some_and(|chain| chain.drops_by_policy);
    let chain = if named(DOCKER_USER).is_some() {
        DOCKER_USER
    } else if drops {
        FORWARD
    } else {
        return Ok(None);
    };
    Ok(Some((filter(family), chain.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::nftables::{Base, ChainKind, Hook};

    fn prepare(nft: &mut NftSocket, chains: &[&str]) -> io::Result<Table> {
        let table = filter(Family::Ipv4);
        let mut changes = vec![Change::AddTable(table.clone())];
        for chain in chains {
            let base = (*chain == FORWARD).then_some(Base {
                kind: ChainKind::Filter,
                hook: Hook::Forward,
                priority: 0,
            });
            changes.push(Change::AddChain(table.clone(), (*chain).to_owned(), base));
        }
        nft.commit(&changes)?;
        Ok(table)
    }

    #[test]
    fn the_rules_come_once_and_go_without_a_trace() {
        crate::sys::netns::create(|| {
            let mut nft = NftSocket::open()?;
            let patterns = ["br-ab12*".to_owned(), "mybridge".to_owned()];
            // Nobody is in the way: nothing is written.
            ensure(&mut nft, "hoist-ab12", &patterns)?;
            assert!(nft.tables(Family::Ipv4)?.is_empty());
            let table = prepare(&mut nft, &[FORWARD, DOCKER_USER])?;
            ensure(&mut nft, "hoist-ab12", &patterns)?;
            ensure(&mut nft, "hoist-ab12", &patterns)?;
            ensure(&mut nft, "hoist-cd34", &["br-cd34*".to_owned()])?;
            assert_eq!(nft.rules(&table, DOCKER_USER)?.len(), 6);
            assert!(nft.rules(&table, FORWARD)?.is_empty());
            remove(&mut nft, "hoist-ab12", Some("mybridge"))?;
            assert_eq!(nft.rules(&table, DOCKER_USER)?.len(), 4);
            remove(&mut nft, "hoist-ab12", None)?;
            assert_eq!(nft.rules(&table, DOCKER_USER)?.len(), 2);
            remove(&mut nft, "hoist-cd34", None)?;
            assert!(nft.rules(&table, DOCKER_USER)?.is_empty());
            Ok(())
        })
        .unwrap();
    }
}
