//! How this program speaks HTTP: whose certificates it trusts, and which proxy it goes through.
//!
//! Certificates are those that the system trusts, or those of `SSL_CERT_FILE` and `SSL_CERT_DIR`, as OpenSSL has it; the
//! ones that came with the program where the system has none. Proxies are chosen by curl's rules: see `http::proxy`.

mod proxy;

use std::sync::{Arc, OnceLock};

use ureq::{
    Agent,
    config::ConfigBuilder,
    http::Uri,
    tls::{Certificate, RootCerts, TlsConfig},
    typestate::AgentScope,
};

use self::proxy::Choice;

/// The way to a URL.
#[derive(Debug, Clone)]
pub struct Route {
    proxy: Option<Choice>,
    is_https: bool,
}

impl Route {
    /// The way to `url`, from what the environment says now.
    ///
    /// # Errors
    /// It is no URL, or the variable of its proxy has no proxy that can be used; the message names the variable.
    pub fn to(url: &str) -> Result<Self, String> {
        let uri: Uri = url.parse().map_err(|error| format!("{url}: {error}"))?;
        Ok(Self {
            proxy: proxy::choose(&uri, |name| std::env::var(name).ok())?,
            is_https: uri.scheme_str() == Some("https"),
        })
    }

    /// The settings of a client on this way: redirects and error statuses are the caller's business.
    #[must_use]
    pub fn config(&self) -> ConfigBuilder<AgentScope> {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(self.proxy.as_ref().map(|choice| choice.proxy.clone()))
            .user_agent(concat!("omnidocs/", env!("CARGO_PKG_VERSION")));
        if self.is_https {
            config.tls_config(TlsConfig::builder().root_certs(trusted()).build())
        } else {
            config
        }
    }

    /// A request's error in words, with what has to do with it.
    #[must_use]
    pub fn describe(&self, error: &ureq::Error) -> String {
        let proxy = self.proxy.as_ref();
        let through = proxy.map_or_else(String::new, |choice| {
            format!(" (through the proxy of {})", choice.variable)
        });
        format!("{error}{through}")
    }
}

/// Whether a request failed because of the other side's certificate, which no repetition mends; says what to do.
#[must_use]
pub fn certificate_advice(error: &ureq::Error) -> Option<&'static str> {
    let text = error.to_string();
    let why = text.split_once("invalid peer certificate: ")?.1;
    // A name of an error or, where more is known, a sentence.
    let why = why.to_ascii_lowercase().replace(' ', "");
    Some(if why.contains("unknownissuer") {
        "set SSL_CERT_FILE to a PEM file with the certificate of the authority that signed it"
    } else if why.contains("expired") || why.contains("notvalidyet") {
        "check this machine's clock, or renew the certificate"
    } else if why.contains("notvalidforname") {
        "use the name that the certificate is for"
    } else {
        "replace the certificate; one that signs itself is not accepted as a server's"
    })
}

/// The certificates that are trusted, read once.
fn trusted() -> RootCerts {
    static TRUSTED: OnceLock<RootCerts> = OnceLock::new();
    let read = || {
        let found = rustls_native_certs::load_native_certs();
        for error in &found.errors {
            tracing::warn!("{error}");
        }
        if found.certs.is_empty() {
            return RootCerts::WebPki;
        }
        let certificates = found.certs.iter();
        let certificates = certificates.map(|der| Certificate::from_der(der).to_owned());
        RootCerts::Specific(Arc::new(certificates.collect()))
    };
    TRUSTED.get_or_init(read).clone()
}
