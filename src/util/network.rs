//! Networks of IP addresses: `10.0.0.0/8`, `fd00::/8`, or one address.
//!
//! An IPv4 address that is written as an IPv6 one (`::ffff:10.0.0.1`), as sockets of both kinds show it, is the IPv4
//! address here.

use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use super::num;

/// All addresses that begin with the same bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Network {
    /// Its first address; IPv4 mapped into IPv6.
    first: u128,
    /// Bits that all its addresses have in common with that.
    prefix_bits: u32,
}

impl Network {
    /// Whether an address lies in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        (bits_of(address) ^ self.first) & mask(self.prefix_bits) == 0
    }
}

impl FromStr for Network {
    type Err = ();

    /// `address` or `address/bits`; bits of the address behind the prefix are passed over.
    fn from_str(text: &str) -> Result<Network, ()> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(drop)?;
        let all_bits = if address.is_ipv4() { 32 } else { 128 };
        let own_bits = match bits {
            Some(text) => num::parse_u64(text.as_bytes())
                .and_then(|bits| u32::try_from(bits).ok())
                .filter(|bits| *bits <= all_bits)
                .ok_or(())?,
            None => all_bits,
        };
        let prefix_bits = own_bits + (128 - all_bits);
        let first = bits_of(address) & mask(prefix_bits);
        Ok(Network { first, prefix_bits })
    }
}

fn bits_of(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => Ipv6Addr::to_bits(v6),
    }
}

fn mask(prefix_bits: u32) -> u128 {
    u128::MAX
        .checked_shl(128 - prefix_bits.min(128))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Network {
        text.parse().unwrap_or_else(|()| panic!("{text}"))
    }

    #[test]
    fn addresses_are_found_in_their_networks() {
        let cases = [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("10.1.2.3/8", "10.9.9.9", true),
            ("10.0.0.1", "10.0.0.1", true),
            ("10.0.0.1", "10.0.0.2", false),
            ("10.0.0.1/32", "::ffff:10.0.0.1", true),
            ("::ffff:10.0.0.0/104", "10.7.7.7", true),
            ("0.0.0.0/0", "255.1.2.3", true),
            ("0.0.0.0/0", "::1", false),
            ("::/0", "1.2.3.4", true),
            ("fd00::/8", "fdff::1", true),
            ("fd00::/8", "fe00::1", false),
            ("::1", "::1", true),
            ("::1/127", "::", true),
            ("127.0.0.0/31", "127.0.0.2", false),
        ];
        for (text, address, expected) in cases {
            let found = network(text).contains(address.parse().unwrap());
            assert_eq!(found, expected, "{address} in {text}");
        }
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in [
            "",
            "/",
            "10.0.0.0/",
            "10.0.0.0/33",
            "::/129",
            "10.0.0.0/-1",
            "10.0.0.0/+8",
            "10.0.0.0/08",
            "10.0.0",
            "10.0.0.0/8/8",
            "localhost",
            " 10.0.0.1",
            "fe80::1%eth0",
            "10.0.0.0/4294967304",
        ] {
            assert_eq!(text.parse::<Network>(), Err(()), "{text:?}");
        }
    }
}
