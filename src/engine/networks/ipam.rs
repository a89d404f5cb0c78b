//! IPAM: subnets chosen from pools, addresses leased from subnets. Pure: what the host uses is passed in, and
//! nothing is stored here.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use crate::engine::base::{Error, Result};

/// An IP network in canonical form: no host bits are set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Subnet {
    address: IpAddr,
    prefix: u8,
}

/// Every subnet of `size` bits inside `within` may be chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DefaultPool {
    pub(crate) within: Subnet,
    pub(crate) size: u8,
}

/// The subnets of one network's family with their leases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pool {
    pub(crate) subnet: Subnet,
    /// Where unspecified addresses come from.
    range: Subnet,
    pub(crate) gateway: IpAddr,
    /// Auxiliary addresses, which belong to somebody else.
    reserved: BTreeSet<IpAddr>,
    leases: BTreeSet<IpAddr>,
    /// The last address given: the next one is searched behind it, so that an address rests before it is
    /// used again and no neighbour has a stale entry for it.
    cursor: Option<IpAddr>,
}

/// Docker's default pools, then more: thirty networks are few for a test machine.
pub(crate) fn default_pools() -> Vec<DefaultPool> {
    let v4 = |a, b, prefix, size| DefaultPool {
        within: Subnet {
            address: IpAddr::V4(Ipv4Addr::new(a, b, 0, 0)),
            prefix,
        },
        size,
    };
    vec![
        v4(172, 17, 16, 16),
        v4(172, 18, 16, 16),
        v4(172, 19, 16, 16),
        v4(172, 20, 14, 16),
        v4(172, 24, 14, 16),
        v4(172, 28, 14, 16),
        v4(192, 168, 16, 20),
        v4(10, 128, 9, 20),
    ]
}

/// The first subnet of the pools that overlaps nothing in `used`.
pub(crate) fn choose_subnet(pools: &[DefaultPool], used: &[Subnet]) -> Result<Subnet> {
    let used: Vec<(u128, u128)> = used
        .iter()
        .filter(|subnet| !subnet.is_ipv6())
        .map(|subnet| (bits_of(subnet.address), subnet.last()))
        .collect();
    for pool in pools {
        let size = 1u128 << (32 - u32::from(pool.size));
        let mut start = bits_of(pool.within.address);
        while start <= pool.within.last() {
            let end = start + size - 1;
            let taken = used
                .iter()
                .filter(|(first, last)| *first <= end && start <= *last);
            match taken.map(|(_, last)| *last).max() {
                None => {
                    return Ok(Subnet {
                        address: pool.within.address_of(start),
                        prefix: pool.size,
                    });
                }
                // On with the first subnet behind what is taken.
                Some(last) => start = (last.max(end) / size + 1) * size,
            }
        }
    }
    Err(Error::system(
        "could not find an available, non-overlapping IPv4 address pool among the defaults to assign to the network: \
         all predefined address pools have been fully subnetted",
    ))
}

/// A unique local /64 (RFC 4193) for a network: the global id is the engine's, the subnet id is counted.
pub(crate) fn choose_unique_local(global_id: u64, used: &[Subnet]) -> Result<Subnet> {
    for number in 0..=u16::MAX {
        let bits = (0xfd_u128 << 120)
            | (u128::from(global_id & 0xff_ffff_ffff) << 80)
            | (u128::from(number) << 64);
        let candidate = Subnet {
            address: IpAddr::V6(Ipv6Addr::from(bits)),
            prefix: 64,
        };
        if !used.iter().any(|subnet| subnet.overlaps(&candidate)) {
            return Ok(candidate);
        }
    }
    Err(Error::system("no IPv6 subnet is free"))
}

fn bits_of(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(u32::from(v4)),
        IpAddr::V6(v6) => u128::from(v6),
    }
}

impl Subnet {
    /// Clears the host bits; None when the prefix is too long for the family.
    pub(crate) fn new(address: IpAddr, prefix: u8) -> Option<Self> {
        match address {
            IpAddr::V4(v4) if prefix <= 32 => {
                let mask = u32::MAX
                    .checked_shl(32 - u32::from(prefix))
                    .unwrap_or_default();
                Some(Subnet {
                    address: IpAddr::V4((u32::from(v4) & mask).into()),
                    prefix,
                })
            }
            IpAddr::V6(v6) if prefix <= 128 => {
                let mask = u128::MAX
                    .checked_shl(128 - u32::from(prefix))
                    .unwrap_or_default();
                Some(Subnet {
                    address: IpAddr::V6((u128::from(v6) & mask).into()),
                    prefix,
                })
            }
            _ => None,
        }
    }

    pub(crate) fn address(&self) -> IpAddr {
        self.address
    }

    pub(crate) fn prefix(&self) -> u8 {
        self.prefix
    }

    pub(crate) fn is_ipv6(&self) -> bool {
        self.address.is_ipv6()
    }

    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        Subnet::new(address, self.prefix).is_some_and(|subnet| subnet == *self)
            && address.is_ipv6() == self.is_ipv6()
    }

    pub(crate) fn overlaps(&self, other: &Subnet) -> bool {
        let shorter = self.prefix.min(other.prefix);
        self.is_ipv6() == other.is_ipv6()
            && Subnet::new(self.address, shorter) == Subnet::new(other.address, shorter)
    }

    fn is_inside(&self, outer: &Subnet) -> bool {
        self.prefix >= outer.prefix && outer.contains(self.address)
    }

    fn host_bits(&self) -> u32 {
        let width = if self.is_ipv6() { 128 } else { 32 };
        width - u32::from(self.prefix)
    }

    fn last(&self) -> u128 {
        let hosts = 1u128
            .checked_shl(self.host_bits())
            .map_or(u128::MAX, |size| size - 1);
        bits_of(self.address) | hosts
    }

    fn address_of(&self, bits: u128) -> IpAddr {
        match self.address {
            IpAddr::V4(_) => IpAddr::V4(u32::try_from(bits).unwrap_or(u32::MAX).into()),
            IpAddr::V6(_) => IpAddr::V6(bits.into()),
        }
    }

    /// The network's own address, and IPv4's broadcast address, are nobody's. A /31 or /32 has neither.
    fn is_assignable(&self, address: IpAddr) -> bool {
        if self.host_bits() < 2 {
            return self.contains(address);
        }
        let bits = bits_of(address);
        self.contains(address)
            && bits != bits_of(self.address)
            && (self.is_ipv6() || bits != self.last())
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl FromStr for Subnet {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = || Error::invalid(format!("invalid CIDR address: {text}"));
        let (address, prefix) = text.split_once('/').ok_or_else(wrong)?;
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let prefix: u8 = prefix.parse().map_err(|_| wrong())?;
        Subnet::new(address, prefix).ok_or_else(wrong)
    }
}

impl Pool {
    /// A pool with its gateway (the first address unless one is asked for). Everything is checked against
    /// the subnet.
    pub(crate) fn new(
        subnet: Subnet,
        range: Option<Subnet>,
        gateway: Option<IpAddr>,
        auxiliary: impl IntoIterator<Item = IpAddr>,
    ) -> Result<Self> {
        let range = range.unwrap_or(subnet);
        if !range.is_inside(&subnet) {
            return Err(Error::invalid(format!(
                "invalid IP range {range}: it is not inside the subnet {subnet}"
            )));
        }
        let gateway = match gateway {
            Some(gateway) if !subnet.contains(gateway) => {
                return Err(Error::invalid(format!(
                    "no matching subnet for gateway {gateway}: it is not inside {subnet}"
                )));
            }
            Some(gateway) => gateway,
            None if subnet.host_bits() == 0 => subnet.address,
            None => subnet.address_of(bits_of(subnet.address) + 1),
        };
        let mut reserved = BTreeSet::new();
        for address in auxiliary {
            if !subnet.contains(address) {
                return Err(Error::invalid(format!(
                    "no matching subnet for aux-address {address}: it is not inside {subnet}"
                )));
            }
            reserved.insert(address);
        }
        Ok(Pool {
            subnet,
            range,
            gateway,
            reserved,
            leases: BTreeSet::new(),
            cursor: None,
        })
    }

    /// The next free address of the range; None when all are taken.
    pub(crate) fn allocate(&mut self) -> Option<IpAddr> {
        let first = bits_of(self.range.address);
        let last = self.range.last();
        let start = match self.cursor {
            Some(cursor) if bits_of(cursor) < last => bits_of(cursor) + 1,
            _ => first,
        };
        // Only taken addresses are stepped over, so the search is as long as they are many.
        let found = self
            .first_free(start, last)
            .or_else(|| self.first_free(first, start.saturating_sub(1)))?;
        self.leases.insert(found);
        self.cursor = Some(found);
        Some(found)
    }

    fn first_free(&self, first: u128, last: u128) -> Option<IpAddr> {
        let mut bits = first;
        while bits <= last {
            let address = self.subnet.address_of(bits);
            if self.is_free(address) && self.subnet.is_assignable(address) {
                return Some(address);
            }
            bits = bits.checked_add(1)?;
        }
        None
    }

    fn is_free(&self, address: IpAddr) -> bool {
        address != self.gateway
            && !self.leases.contains(&address)
            && !self.reserved.contains(&address)
    }

    /// Leases exactly `address`.
    pub(crate) fn allocate_static(&mut self, address: IpAddr) -> Result<()> {
        if !self.subnet.is_assignable(address) {
            return Err(Error::invalid(format!(
                "invalid endpoint settings: {address} is not an address of the subnet {}",
                self.subnet
            )));
        }
        // A reserved (auxiliary) address may be asked for by name: that is what it is kept for.
        if address == self.gateway || self.leases.contains(&address) {
            return Err(Error::forbidden("Address already in use"));
        }
        self.leases.insert(address);
        Ok(())
    }

    pub(crate) fn release(&mut self, address: IpAddr) {
        self.leases.remove(&address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subnet(text: &str) -> Subnet {
        text.parse().unwrap()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn subnets_parse_and_lose_their_host_bits() {
        assert_eq!(subnet("10.1.2.3/16").to_string(), "10.1.0.0/16");
        assert_eq!(subnet("fd00::1/64").to_string(), "fd00::/64");
        assert_eq!(subnet("0.0.0.0/0").to_string(), "0.0.0.0/0");
        for wrong in [
            "10.0.0.0",
            "10.0.0.0/33",
            "fd00::/129",
            "x/8",
            "10.0.0.0/-1",
            "",
        ] {
            assert!(wrong.parse::<Subnet>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn overlap_is_symmetric_and_stays_in_the_family() {
        let outer = subnet("172.16.0.0/12");
        let inner = subnet("172.17.0.0/16");
        assert!(outer.overlaps(&inner) && inner.overlaps(&outer));
        assert!(!inner.overlaps(&subnet("172.18.0.0/16")));
        assert!(!subnet("0.0.0.0/0").overlaps(&subnet("::/0")));
    }

    #[test]
    fn the_first_subnet_that_the_host_does_not_use_is_chosen() {
        let pools = default_pools();
        let mut used = vec![subnet("172.17.0.0/16"), subnet("172.18.4.0/24")];
        assert_eq!(
            choose_subnet(&pools, &used).unwrap(),
            subnet("172.19.0.0/16")
        );
        used.push(subnet("172.16.0.0/12"));
        assert_eq!(
            choose_subnet(&pools, &used).unwrap(),
            subnet("192.168.0.0/20")
        );
        used.push(subnet("192.168.0.0/16"));
        assert_eq!(
            choose_subnet(&pools, &used).unwrap(),
            subnet("10.128.0.0/20")
        );
        used.push(subnet("10.0.0.0/8"));
        assert!(choose_subnet(&pools, &used).is_err());
    }

    #[test]
    fn all_default_subnets_can_be_used_and_none_twice() {
        let mut pools = default_pools();
        pools[7].within = subnet("10.128.0.0/14");
        let mut used = Vec::new();
        while let Ok(chosen) = choose_subnet(&pools, &used) {
            assert!(!used.contains(&chosen));
            used.push(chosen);
        }
        assert_eq!(used.len(), 15 + 16 + 64);
    }

    #[test]
    fn unique_local_subnets_count_up() {
        let first = choose_unique_local(0x12_3456_789a, &[]).unwrap();
        assert_eq!(first, subnet("fd12:3456:789a::/64"));
        let second = choose_unique_local(0x12_3456_789a, &[first]).unwrap();
        assert_eq!(second, subnet("fd12:3456:789a:1::/64"));
    }

    #[test]
    fn addresses_are_given_in_order_and_rest_before_they_come_again() {
        let mut pool = Pool::new(subnet("10.0.0.0/29"), None, None, [ip("10.0.0.3")]).unwrap();
        assert_eq!(pool.gateway, ip("10.0.0.1"));
        assert_eq!(pool.allocate(), Some(ip("10.0.0.2")));
        assert_eq!(pool.allocate(), Some(ip("10.0.0.4")));
        pool.release(ip("10.0.0.2"));
        assert_eq!(pool.allocate(), Some(ip("10.0.0.5")));
        assert_eq!(pool.allocate(), Some(ip("10.0.0.6")));
        assert_eq!(pool.allocate(), Some(ip("10.0.0.2")));
        assert_eq!(pool.allocate(), None);
    }

    #[test]
    fn a_static_address_is_checked() {
        let mut pool = Pool::new(subnet("10.0.0.0/24"), None, None, []).unwrap();
        pool.allocate_static(ip("10.0.0.9")).unwrap();
        for wrong in [
            "10.0.0.9",
            "10.0.0.1",
            "10.0.0.0",
            "10.0.0.255",
            "10.0.1.4",
            "fd00::1",
        ] {
            assert!(pool.allocate_static(ip(wrong)).is_err(), "{wrong}");
        }
        for _ in 2..9 {
            assert_ne!(pool.allocate(), Some(ip("10.0.0.9")));
        }
    }

    #[test]
    fn a_range_limits_what_is_given_but_not_what_is_asked_for() {
        let range = Some(subnet("10.0.5.0/30"));
        let mut pool = Pool::new(subnet("10.0.0.0/16"), range, None, []).unwrap();
        let given: Vec<_> = std::iter::from_fn(|| pool.allocate()).collect();
        assert_eq!(
            given,
            [
                ip("10.0.5.0"),
                ip("10.0.5.1"),
                ip("10.0.5.2"),
                ip("10.0.5.3")
            ]
        );
        pool.allocate_static(ip("10.0.9.9")).unwrap();
        assert!(Pool::new(subnet("10.0.0.0/16"), Some(subnet("10.1.0.0/24")), None, []).is_err());
        assert!(Pool::new(subnet("10.0.0.0/16"), None, Some(ip("10.1.0.1")), []).is_err());
        assert!(Pool::new(subnet("10.0.0.0/16"), None, None, [ip("10.1.0.1")]).is_err());
    }

    #[test]
    fn the_edges_of_the_address_space_do_not_overflow() {
        let mut pool = Pool::new(subnet("255.255.255.252/30"), None, None, []).unwrap();
        assert_eq!(pool.allocate(), Some(ip("255.255.255.254")));
        assert_eq!(pool.allocate(), None);
        let mut pool = Pool::new(
            subnet("ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe/127"),
            None,
            None,
            [],
        )
        .unwrap();
        assert!(pool.allocate().is_some());
        assert_eq!(pool.allocate(), None);
        let mut all = Pool::new(subnet("::/0"), None, None, []).unwrap();
        assert_eq!(all.allocate(), Some(ip("::2")));
    }
}
