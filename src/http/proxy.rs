//! Which proxy a URL is reached through, by curl's rules.
//!
//! `https_proxy`, `http_proxy`, then `all_proxy`, each in small letters first and then in capitals; empty ones are not
//! set. `no_proxy` lists what is reached without: hosts with all that is below them, addresses, ranges of addresses like
//! `10.0.0.0/8`, each with a port or without, or `*` for everything.

use std::net::IpAddr;

use ureq::{Proxy, http::Uri};

/// A proxy, and the variable that names it.
#[derive(Debug, Clone)]
pub(super) struct Choice {
    pub(super) proxy: Proxy,
    pub(super) variable: String,
}

/// The proxy for `uri`, if there is one in the environment.
pub(super) fn choose(
    uri: &Uri,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Option<Choice>, String> {
    let set = |name: &str| {
        let names = [name.to_owned(), name.to_ascii_uppercase()];
        names.into_iter().find_map(|name| {
            // A web server that runs a program hands it a request's header `Proxy` under this name.
            if name == "HTTP_PROXY" && variable("REQUEST_METHOD").is_some() {
                return None;
            }
            let value = variable(&name)?;
            (!value.trim().is_empty()).then(|| (name, value.trim().to_owned()))
        })
    };
    let scheme = uri.scheme_str().unwrap_or("http");
    let Some((name, value)) = set(&format!("{scheme}_proxy")).or_else(|| set("all_proxy")) else {
        return Ok(None);
    };
    let host = uri.host().unwrap_or_default();
    let port = uri
        .port_u16()
        .unwrap_or(if scheme == "https" { 443 } else { 80 });
    if set("no_proxy").is_some_and(|(_, list)| is_listed(&list, host, port)) {
        return Ok(None);
    }
    match Proxy::new(&value) {
        Ok(proxy) => Ok(Some(Choice {
            proxy,
            variable: name,
        })),
        // Without its value, which may hold a password.
        Err(_) => Err(format!(
            "{name} has no proxy's URL, like http://proxy.example:3128"
        )),
    }
}

/// Whether a list of `no_proxy` has this host and port.
fn is_listed(list: &str, host: &str, port: u16) -> bool {
    let host = bare(host).to_ascii_lowercase();
    let mut entries = list.split([',', ' ', '\t']).filter(|it| !it.is_empty());
    entries.any(|entry| entry == "*" || matches(&entry.to_ascii_lowercase(), &host, port))
}

/// Whether an entry, in small letters, has this host and port.
fn matches(entry: &str, host: &str, port: u16) -> bool {
    let (name, of_port) = split_port(entry);
    if of_port.is_some_and(|of_port| of_port != port) {
        return false;
    }
    if let Ok(address) = host.parse::<IpAddr>() {
        let (range, length) = match name.split_once('/') {
            Some((range, length)) => (range, length.parse().ok()),
            None => (name, Some(u32::MAX)),
        };
        return match (bare(range).parse(), length) {
            (Ok(range), Some(length)) => is_within(address, range, length),
            _ => false,
        };
    }
    let name = name.trim_start_matches('*').trim_start_matches('.');
    let name = name.trim_end_matches('.');
    let above = host.strip_suffix(name);
    !name.is_empty() && above.is_some_and(|above| above.is_empty() || above.ends_with('.'))
}

/// Whether the first `length` bits of both addresses are the same.
fn is_within(address: IpAddr, range: IpAddr, length: u32) -> bool {
    let same = |difference: u128, bits: u32| length >= bits || difference >> (bits - length) == 0;
    match (address, range) {
        (IpAddr::V4(a), IpAddr::V4(b)) => same((a.to_bits() ^ b.to_bits()).into(), 32),
        (IpAddr::V6(a), IpAddr::V6(b)) => length == 0 || same(a.to_bits() ^ b.to_bits(), 128),
        _ => false,
    }
}

/// An entry without its port, and the port. An IPv6 address has one only behind its brackets.
fn split_port(entry: &str) -> (&str, Option<u16>) {
    let is_v6 = |name: &str| name.contains(':') && !name.ends_with(']');
    match entry.rsplit_once(':') {
        Some((name, port)) if !is_v6(name) => match port.parse() {
            Ok(port) => (name, Some(port)),
            Err(_) => (entry, None),
        },
        _ => (entry, None),
    }
}

/// Without the brackets of an IPv6 address, and without a name's last dot.
fn bare(host: &str) -> &str {
    let address = host.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
    address.unwrap_or(host.trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The variable whose proxy is taken for `url`.
    fn chosen(url: &str, variables: &[(&str, &str)]) -> Result<Option<String>, String> {
        let uri: Uri = url.parse().unwrap();
        let variable = |name: &str| {
            let found = variables.iter().find(|(it, _)| *it == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        Ok(choose(&uri, variable)?.map(|choice| choice.variable))
    }

    #[test]
    fn proxy_variables_are_taken_in_curls_order() {
        const PROXY: &str = "http://proxy:3128";
        for (url, variables, expected) in [
            ("http://a/", vec![], None),
            (
                "http://a/",
                vec!["http_proxy", "HTTP_PROXY"],
                Some("http_proxy"),
            ),
            (
                "http://a/",
                vec!["HTTP_PROXY", "all_proxy"],
                Some("HTTP_PROXY"),
            ),
            (
                "http://a/",
                vec!["https_proxy", "ALL_PROXY"],
                Some("ALL_PROXY"),
            ),
            (
                "https://a/",
                vec!["HTTPS_PROXY", "all_proxy"],
                Some("HTTPS_PROXY"),
            ),
            ("https://a/", vec!["http_proxy", "HTTP_PROXY"], None),
            ("http://a/", vec!["HTTP_PROXY", "REQUEST_METHOD"], None),
        ] {
            let set: Vec<_> = variables.iter().map(|name| (*name, PROXY)).collect();
            assert_eq!(
                chosen(url, &set),
                Ok(expected.map(str::to_owned)),
                "{variables:?}"
            );
        }
        let empty = [("http_proxy", " "), ("HTTP_PROXY", PROXY)];
        assert_eq!(
            chosen("http://a/", &empty),
            Ok(Some("HTTP_PROXY".to_owned()))
        );
        assert_eq!(
            chosen("http://a/", &[("http_proxy", "proxy:3128")]).unwrap(),
            Some("http_proxy".to_owned())
        );
    }

    #[test]
    fn unusable_proxy_is_named_by_its_variable_without_its_password() {
        for value in ["http://", "ftp://me:secret@proxy"] {
            let error = chosen("https://a/", &[("ALL_PROXY", value)]).unwrap_err();
            assert!(
                error.contains("ALL_PROXY") && !error.contains("secret"),
                "{error}"
            );
        }
    }

    #[test]
    fn no_proxy_has_hosts_domains_ranges_and_ports() {
        for (list, host, expected) in [
            ("*", "a.example", true),
            ("example.com", "example.com", true),
            ("example.com", "Deep.Sub.Example.COM", true),
            ("example.com", "notexample.com", false),
            (".example.com", "example.com", true),
            ("*.example.com", "sub.example.com", true),
            ("example.com.", "sub.example.com", true),
            ("example.com", "example.com.", true),
            ("localhost, 127.0.0.1", "127.0.0.1", true),
            ("localhost 127.0.0.1", "localhost", true),
            ("a,,b", "c", false),
            ("10.0.0.0/8", "10.200.3.4", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("192.168.1.128/25", "192.168.1.127", false),
            ("0.0.0.0/0", "8.8.8.8", true),
            ("10.0.0.0/x", "10.0.0.1", false),
            ("10", "host10", false),
            ("0.0.1", "10.0.0.1", false),
            ("fd00::/8", "[fd12::1]", true),
            ("::/0", "[fd12::1]", true),
            ("[::1]", "[::1]", true),
            ("::1", "[::1]", true),
            ("[::1]:8000", "[::1]", true),
            ("[::1]:8001", "[::1]", false),
            ("example.com:8000", "sub.example.com", true),
            ("example.com:80", "sub.example.com", false),
            ("10.0.0.0/8:8000", "10.1.1.1", true),
        ] {
            assert_eq!(is_listed(list, host, 8000), expected, "{list} {host}");
        }
    }
}
