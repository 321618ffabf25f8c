//! Networks: an address and how many of its leading bits count.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use toml::Spanned;

use super::kind::{Expect, Kind, Mistake};
use super::value::Value;

/// All addresses that begin with the same bits (RFC 4632, RFC 4291).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// Whether `address` is one of them. An IPv4 address that came by an IPv6 listener
    /// (`::ffff:a.b.c.d`) is what it is by IPv4.
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        let (network, address) = (self.address, address.to_canonical());
        let is_one_kind = network.is_ipv4() == address.is_ipv4();
        is_one_kind && bits_behind(network, self.prefix) == bits_behind(address, self.prefix)
    }

    /// The network, or the address, that is written so.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let parsed: Parsed = text.parse().ok()?;
        parsed.begins.then_some(parsed.network)
    }

    /// The network of this size that `address` lies in.
    fn around(address: IpAddr, prefix: u8) -> Self {
        let kept = |width: u32, bits: u128| {
            let behind = width - u32::from(prefix);
            bits.checked_shr(behind)
                .unwrap_or(0)
                .checked_shl(behind)
                .unwrap_or(0)
        };
        let address = match address {
            IpAddr::V4(v4) => IpAddr::V4((kept(32, v4.to_bits().into()) as u32).into()),
            IpAddr::V6(v6) => IpAddr::V6(kept(128, v6.to_bits()).into()),
        };
        Self { address, prefix }
    }
}

/// The leading bits of an address.
fn bits_behind(address: IpAddr, prefix: u8) -> u128 {
    let (bits, width) = match address {
        IpAddr::V4(v4) => (u128::from(v4.to_bits()), 32),
        IpAddr::V6(v6) => (v6.to_bits(), 128),
    };
    bits.checked_shr(width - u32::from(prefix)).unwrap_or(0)
}

impl fmt::Display for Network {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.address, self.prefix)
    }
}

/// A network, or an address of one that says where it begins.
struct Parsed {
    network: Network,
    begins: bool,
}

impl FromStr for Parsed {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(drop)?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            Some(prefix) => prefix.parse().map_err(drop)?,
            None => width,
        };
        // A mapped address would be compared with what it is by IPv4, and never be met.
        if prefix > width || address.to_canonical() != address {
            return Err(());
        }
        let network = Network::around(address, prefix);
        let begins = network.address == address;
        Ok(Self { network, begins })
    }
}

/// A list of networks.
pub(super) struct Networks {
    pub(super) count_max: usize,
}

const ITEM: &str = "a network, like \"10.0.0.0/8\", or an address";

impl Networks {
    fn network(value: &Value) -> Result<Network, Option<String>> {
        let Value::Text(text) = value else {
            return Err(None);
        };
        match text.parse() {
            Ok(Parsed {
                network,
                begins: true,
            }) => Ok(network),
            Ok(Parsed { network, .. }) => Err(Some(format!(
                "write \"{network}\" for the network that it lies in"
            ))),
            Err(()) => Err(None),
        }
    }
}

impl fmt::Display for Networks {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "a list of at most {}, each {ITEM}", self.count_max)
    }
}

impl Expect for Networks {
    fn mistakes(&self, wrong: &Spanned<Value>) -> Vec<Mistake> {
        match wrong.get_ref() {
            Value::List(items) if items.len() <= self.count_max => {
                let wrong = |item: &Spanned<Value>| {
                    let help = Self::network(item.get_ref()).err()?;
                    Some(Mistake::found(item, ITEM, help))
                };
                items.iter().filter_map(wrong).collect()
            }
            _ => vec![Mistake::found(wrong, self, None)],
        }
    }
}

impl Kind<Vec<Network>> for Networks {
    fn read(&self, value: &Value) -> Option<Vec<Network>> {
        match value {
            Value::List(items) if items.len() <= self.count_max => {
                let networks = items.iter().map(|item| Self::network(item.get_ref()).ok());
                networks.collect()
            }
            _ => None,
        }
    }

    fn write(&self, setting: &Vec<Network>) -> Value {
        Value::list(
            setting
                .iter()
                .map(|network| Value::Text(network.to_string())),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Network, Option<String>> {
        Networks::network(&Value::Text(text.to_owned()))
    }

    #[test]
    fn a_network_holds_the_addresses_that_begin_as_it_does() {
        for (network, address, is_in) in [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("10.0.0.0/8", "::ffff:10.1.2.3", true),
            ("10.0.0.0/8", "a00::", false),
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7", "192.0.2.6", false),
            ("0.0.0.0/0", "255.255.255.255", true),
            ("0.0.0.0/0", "::1", false),
            ("::/0", "2001:db8::1", true),
            ("::/0", "::ffff:10.0.0.1", false),
            ("2001:db8::/33", "2001:db8:7fff::", true),
            ("2001:db8::/33", "2001:db8:8000::", false),
            ("::1", "::1", true),
        ] {
            let found = read(network).expect("a network");
            let address = address.parse().expect("an address");
            assert_eq!(found.contains(address), is_in, "{network} {address}");
        }
    }

    #[test]
    fn a_network_is_written_as_it_is_read_and_begins_where_it_says() {
        for (text, written) in [
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("192.0.2.7", "192.0.2.7/32"),
            ("::1", "::1/128"),
            ("::/0", "::/0"),
        ] {
            let network = read(text).expect("a network");
            assert_eq!(
                (network.to_string(), read(written)),
                (written.to_owned(), Ok(network))
            );
        }
        for text in [
            "10.0.0.0/33",
            "::/129",
            "10.0.0/8",
            "10.0.0.0/",
            "10.0.0.0/-1",
            "localhost",
            "::ffff:10.0.0.1",
        ] {
            assert_eq!(read(text), Err(None), "{text}");
        }
        let help = read("10.1.2.3/8").expect_err("it begins elsewhere");
        assert_eq!(
            help.as_deref(),
            Some("write \"10.0.0.0/8\" for the network that it lies in")
        );
    }
}
